struct depthwise_conv_2d {
  const int8_t *weights;
  const int32_t *biases, *multipliers;
  const int8_t *shifts;
  int32_t in_channels, channels, repeats, in_offset, out_offset;
  int16_t in_height, in_width, height, width, kernel_height, kernel_width;
  int16_t stride_y, stride_x, dilation_y, dilation_x, top, left;
  int8_t low, high, by_channel;
};

/* One number of the output: a channel's weights over the input under them. */
static int32_t depthwise_conv_2d_sum(const struct depthwise_conv_2d *p, const int8_t *in,
                                     const int8_t *weights, int32_t top, int32_t left) {
  int32_t sum = 0;
  for (int32_t ky = 0; ky < p->kernel_height; ++ky) {
    const int32_t y = top + ky * p->dilation_y;
    if (y < 0 || y >= p->in_height) continue;
    for (int32_t kx = 0; kx < p->kernel_width; ++kx) {
      const int32_t x = left + kx * p->dilation_x;
      if (x < 0 || x >= p->in_width) continue;
      sum += weights[(ky * p->kernel_width + kx) * p->channels] *
             (in[(y * p->in_width + x) * p->in_channels] + p->in_offset);
    }
  }
  return sum;
}

static void depthwise_conv_2d(const struct depthwise_conv_2d *p, const int8_t *in, int8_t *out) {
  for (int32_t y = 0; y < p->height; ++y) {
    for (int32_t x = 0; x < p->width; ++x) {
      const int32_t top = y * p->stride_y - p->top, left = x * p->stride_x - p->left;
      for (int32_t c = 0; c < p->channels; ++c) {
        int32_t sum = depthwise_conv_2d_sum(p, in + c / p->repeats, p->weights + c, top, left);
        if (p->biases) sum += p->biases[c];
        const int32_t scale = p->by_channel ? c : 0;
        sum = rescaled(sum, p->multipliers[scale], p->shifts[scale]) + p->out_offset;
        *out++ = limited(sum, p->low, p->high);
      }
    }
  }
}
