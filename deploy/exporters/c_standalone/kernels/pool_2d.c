struct pool_2d {
  int32_t channels;
  int16_t in_height, in_width, height, width, kernel_height, kernel_width;
  int16_t stride_y, stride_x, top, left;
  int8_t low, high;
};
