struct move {
  int32_t rows, length, in_step, out_step;
  struct view in, out;
};

static void move(const struct move *p, const int8_t *in, int8_t *out) {
  for (int32_t i = 0; i < p->rows; ++i) {
    const int8_t *from = in + place(&p->in, i);
    int8_t *to = out + place(&p->out, i);
    for (int32_t j = 0; j < p->length; ++j) to[j * p->out_step] = from[j * p->in_step];
  }
}
