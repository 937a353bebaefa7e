struct softmax {
  const int32_t *exponentials;
  int32_t rows, length, entries;
};

/* 1 / (1 + x) for x in 0..1, both in steps of 2^-31, by three steps of Newton's method. */
static int32_t reciprocal(int32_t x) {
  const int32_t half = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
  int32_t found = 1515870810 + high_product(half, -1010580540);
  for (int32_t i = 0; i < 3; ++i) {
    const int32_t error = (1 << 29) - high_product(half, found);
    found += high_product(found, error) * 4;
  }
  return found > INT32_MAX / 2 ? INT32_MAX : found * 2;
}

static void softmax(const struct softmax *p, const int8_t *in, int8_t *out) {
  for (int32_t row = 0; row < p->rows; ++row, in += p->length, out += p->length) {
    int32_t most = INT8_MIN, sum = 0, spare = 0;
    for (int32_t i = 0; i < p->length; ++i) most = in[i] > most ? in[i] : most;
    for (int32_t i = 0; i < p->length; ++i) {
      if (most - in[i] < p->entries) sum += divided(p->exponentials[most - in[i]], 12);
    }
    while (!((uint32_t)sum << spare >> 31)) ++spare;
    const int32_t scale = reciprocal((int32_t)(((uint32_t)sum << spare) - (UINT32_C(1) << 31)));
    for (int32_t i = 0; i < p->length; ++i) {
      int32_t value = 0;
      if (most - in[i] < p->entries) {
        value = high_product(scale, p->exponentials[most - in[i]]);
        value = divided(value, 12 - spare + 23);
      }
      out[i] = limited(value + INT8_MIN, INT8_MIN, INT8_MAX);
    }
  }
}
