static void sub(const struct pair *p, const int8_t *a, const int8_t *b, int8_t *out) {
  for (int32_t i = 0; i < p->rows; ++i) {
    const int8_t *x = a + place(&p->a, i), *y = b + place(&p->b, i);
    for (int32_t j = 0; j < p->length; ++j) {
      const int32_t left = (x[j * p->a_step] + p->a_offset) * (1 << 20);
      const int32_t right = (y[j * p->b_step] + p->b_offset) * (1 << 20);
      int32_t value = rescaled(left, p->a_multiplier, p->a_shift) -
                      rescaled(right, p->b_multiplier, p->b_shift);
      value = rescaled(value, p->out_multiplier, p->out_shift) + p->out_offset;
      *out++ = limited(value, p->low, p->high);
    }
  }
}
