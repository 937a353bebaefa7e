struct resize_nearest {
  const int16_t *rows, *columns;
  int32_t channels;
  int16_t in_width, height, width;
};

static void resize_nearest(const struct resize_nearest *p, const int8_t *in, int8_t *out) {
  for (int32_t y = 0; y < p->height; ++y) {
    for (int32_t x = 0; x < p->width; ++x, out += p->channels) {
      const int32_t pixel = p->rows[y] * p->in_width + p->columns[x];
      copy(out, in + pixel * p->channels, p->channels);
    }
  }
}
