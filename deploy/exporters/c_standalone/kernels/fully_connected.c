struct fully_connected {
  const int8_t *weights;
  const int32_t *biases;
  const int64_t *multipliers;
  const int8_t *shifts;
  int32_t rows, length, units, in_offset, out_offset;
  int8_t low, high, by_unit;
};

static void fully_connected(const struct fully_connected *p, const int8_t *in, int8_t *out) {
  for (int32_t row = 0; row < p->rows; ++row, in += p->length) {
    const int8_t *weights = p->weights;
    for (int32_t unit = 0; unit < p->units; ++unit, weights += p->length) {
      int32_t sum = p->biases ? p->biases[unit] : 0;
      for (int32_t i = 0; i < p->length; ++i) sum += weights[i] * (in[i] + p->in_offset);
      const int32_t scale = p->by_unit ? unit : 0;
      sum = rescaled_once(sum, p->multipliers[scale], p->shifts[scale]) + p->out_offset;
      *out++ = limited(sum, p->low, p->high);
    }
  }
}
