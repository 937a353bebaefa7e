/* A LiteRT delegate that takes over the whole graph and answers with zeros: what a broken one does.
 * Its option "refuse" makes it refuse to be created.
 * Structures as in TensorFlow Lite's common.h, as far as they are used. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct { int size; int data[]; } Ints;
typedef struct {
  int type;
  void *data;
  Ints *dims;
  struct { float scale; int32_t zero_point; } params;
  int allocation;
  size_t bytes;
  const void *rest[8];
} Tensor;
typedef struct { Ints *inputs, *outputs; } Node;
typedef struct Context Context;
typedef struct {
  void *(*init)(Context *, const char *, size_t);
  void (*free)(Context *, void *);
  int (*prepare)(Context *, Node *);
  int (*invoke)(Context *, Node *);
  const char *(*profiling_string)(const Context *, const Node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *operator_, *async;
  uint64_t inplace;
} Registration;
typedef struct Delegate {
  void *data;
  int (*prepare)(Context *, struct Delegate *);
  void *copies[3];
  int64_t flags;
  void *builder;
} Delegate;
struct Context {
  size_t tensors_size;
  int (*plan)(Context *, Ints **);
  Tensor *tensors;
  void *impl, *resize, *report, *add, *node;
  int (*replace)(Context *, Registration, const Ints *, Delegate *);
};

static int zeros(Context *context, Node *node) {
  for (int i = 0; i < node->outputs->size; i++) {
    Tensor *tensor = &context->tensors[node->outputs->data[i]];
    memset(tensor->data, 0, tensor->bytes);
  }
  return 0;
}

static int take_all(Context *context, Delegate *delegate) {
  Registration kernel = {.invoke = zeros, .custom_name = "zeros", .version = 1};
  Ints *plan;
  if (context->plan(context, &plan)) return 1;
  size_t bytes = sizeof(Ints) + plan->size * sizeof(int);
  Ints *copy = memcpy(malloc(bytes), plan, bytes);
  int status = context->replace(context, kernel, copy, delegate);
  free(copy);
  return status;
}

Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t n,
                                        void (*report)(const char *)) {
  (void)values;
  for (size_t i = 0; i < n; i++) {
    if (!strcmp(keys[i], "refuse")) {
      report("there is no such accelerator");
      return NULL;
    }
  }
  Delegate *delegate = calloc(1, sizeof *delegate);
  delegate->prepare = take_all;
  return delegate;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) { free(delegate); }
