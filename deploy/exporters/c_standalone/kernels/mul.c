static void mul(const struct pair *p, const int8_t *a, const int8_t *b, int8_t *out) {
  for (int32_t i = 0; i < p->rows; ++i) {
    const int8_t *x = a + place(&p->a, i), *y = b + place(&p->b, i);
    for (int32_t j = 0; j < p->length; ++j) {
      int32_t value = (x[j * p->a_step] + p->a_offset) * (y[j * p->b_step] + p->b_offset);
      value = rescaled(value, p->out_multiplier, p->out_shift) + p->out_offset;
      *out++ = limited(value, p->low, p->high);
    }
  }
}
