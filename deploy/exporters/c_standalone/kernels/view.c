/* A part of an array: how many elements along each axis, and how far they are apart. */
struct view {
  int32_t rank, sizes[RANK], steps[RANK];
};

/* Where the element with this number lies, the last axis counted first. */
static int32_t place(const struct view *view, int32_t number) {
  int32_t found = 0;
  for (int32_t axis = view->rank - 1; axis >= 0; --axis) {
    found += number % view->sizes[axis] * view->steps[axis];
    number /= view->sizes[axis];
  }
  return found;
}
