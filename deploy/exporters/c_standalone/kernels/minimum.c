static void minimum(const struct pair *p, const int8_t *a, const int8_t *b, int8_t *out) {
  for (int32_t i = 0; i < p->rows; ++i) {
    const int8_t *x = a + place(&p->a, i), *y = b + place(&p->b, i);
    for (int32_t j = 0; j < p->length; ++j) {
      const int8_t left = x[j * p->a_step], right = y[j * p->b_step];
      *out++ = left < right ? left : right;
    }
  }
}
