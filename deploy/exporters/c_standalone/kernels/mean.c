struct mean {
  int32_t count, terms, offset, multiplier, shift, out_offset;
  struct view kept, reduced;
};

static void mean(const struct mean *p, const int8_t *in, int8_t *out) {
  for (int32_t i = 0; i < p->count; ++i) {
    const int8_t *from = in + place(&p->kept, i);
    int32_t sum = p->offset;
    for (int32_t j = 0; j < p->terms; ++j) sum += from[place(&p->reduced, j)];
    sum = rescaled(sum, p->multiplier, p->shift) + p->out_offset;
    *out++ = limited(sum, INT8_MIN, INT8_MAX);
  }
}
