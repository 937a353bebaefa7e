struct conv_2d {
  const int8_t *weights;
  const int32_t *biases, *multipliers;
  const int8_t *shifts;
  int32_t in_channels, group_channels, channels, group_filters, in_offset, out_offset;
  int16_t in_height, in_width, height, width, kernel_height, kernel_width;
  int16_t stride_y, stride_x, dilation_y, dilation_x, top, left;
  int8_t low, high, by_channel;
};

/* One number of the output: the weights of a filter over the input under it. */
static int32_t conv_2d_sum(const struct conv_2d *p, const int8_t *in, const int8_t *weights,
                           int32_t top, int32_t left) {
  int32_t sum = 0;
  for (int32_t ky = 0; ky < p->kernel_height; ++ky) {
    const int32_t y = top + ky * p->dilation_y;
    if (y < 0 || y >= p->in_height) continue;
    for (int32_t kx = 0; kx < p->kernel_width; ++kx) {
      const int32_t x = left + kx * p->dilation_x;
      if (x < 0 || x >= p->in_width) continue;
      const int8_t *pixel = in + (y * p->in_width + x) * p->in_channels;
      const int8_t *weight = weights + (ky * p->kernel_width + kx) * p->group_channels;
      for (int32_t c = 0; c < p->group_channels; ++c) {
        sum += weight[c] * (pixel[c] + p->in_offset);
      }
    }
  }
  return sum;
}

static void conv_2d(const struct conv_2d *p, const int8_t *in, int8_t *out) {
  const int32_t taps = p->kernel_height * p->kernel_width * p->group_channels;
  for (int32_t y = 0; y < p->height; ++y) {
    for (int32_t x = 0; x < p->width; ++x) {
      const int32_t top = y * p->stride_y - p->top, left = x * p->stride_x - p->left;
      for (int32_t c = 0; c < p->channels; ++c) {
        const int8_t *group = in + c / p->group_filters * p->group_channels;
        int32_t sum = conv_2d_sum(p, group, p->weights + c * taps, top, left);
        if (p->biases) sum += p->biases[c];
        const int32_t scale = p->by_channel ? c : 0;
        sum = rescaled(sum, p->multipliers[scale], p->shifts[scale]) + p->out_offset;
        *out++ = limited(sum, p->low, p->high);
      }
    }
  }
}
