/* Owns LiteRT in a process of its own on a machine without Python: what runner.py is elsewhere.
 *
 * Usage: runner LIBRARY, where LIBRARY is the libLiteRt.so of a LiteRT release for that machine.
 * Reads one JSON object a line from standard input and answers each with one on standard output.
 * The requests are those of runner.py, but:
 *
 *     load         takes path, threads, xnnpack, batch, cpus
 *     describe     names no operators
 *     predict      inputs, outputs (files of raw values, one for each tensor), runs: so many
 *                  inferences one after the other; answers with the shape of each output
 *
 * The functions below are declared here since LiteRT's wheels hold the library, but no headers;
 * they are those of LiteRT 2.3. Source: LiteRT's C API (litert/c).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_TENSORS 64
#define MOST_DIMENSIONS 8

typedef struct {
  uint32_t rank_and_flags; /* the rank in the lower seven bits */
  int32_t sizes[MOST_DIMENSIONS];
  uint32_t strides[MOST_DIMENSIONS];
} Layout;
typedef struct {
  int32_t element;
  Layout layout;
} Type;
typedef struct {
  float scale;
  int64_t zero_point;
} Quantisation;

/* Every function of the library that is used: result, name without its prefix, arguments. */
#define FUNCTIONS(F)                                                                    \
  F(int, CreateEnvironment, (int, const void *, void **))                               \
  F(int, CreateModelFromFile, (void *, const char *, void **))                          \
  F(int, GetModelSignature, (void *, size_t, void **))                                  \
  F(int, GetNumSignatureInputs, (void *, size_t *))                                     \
  F(int, GetNumSignatureOutputs, (void *, size_t *))                                    \
  F(int, GetSignatureInputName, (void *, size_t, const char **))                        \
  F(int, GetSignatureOutputName, (void *, size_t, const char **))                       \
  F(int, GetSignatureInputTensorByIndex, (void *, size_t, void **))                     \
  F(int, GetSignatureOutputTensorByIndex, (void *, size_t, void **))                    \
  F(int, GetTensorName, (void *, const char **))                                        \
  F(int, GetRankedTensorType, (void *, Type *))                                         \
  F(int, GetQuantizationTypeId, (void *, int *))                                        \
  F(int, GetPerTensorQuantization, (void *, Quantisation *))                            \
  F(int, CreateOptions, (void **))                                                      \
  F(int, SetOptionsHardwareAccelerators, (void *, int))                                 \
  F(int, CreateOpaqueOptions, (const char *, void *, void (*)(void *), void **))        \
  F(int, AddOpaqueOptions, (void *, void *))                                            \
  F(int, CreateCompiledModel, (void *, void *, void *, void **))                        \
  F(int, CompiledModelResizeInputTensorNonStrict,                                       \
    (void *, size_t, size_t, const int *, size_t))                                      \
  F(int, GetCompiledModelOutputTensorLayouts, (void *, size_t, size_t, Layout *, bool)) \
  F(int, GetCompiledModelInputBufferRequirements, (void *, size_t, size_t, void **))    \
  F(int, GetCompiledModelOutputBufferRequirements, (void *, size_t, size_t, void **))   \
  F(int, CreateManagedTensorBufferFromRequirements,                                     \
    (void *, const Type *, void *, void **))                                            \
  F(int, GetTensorBufferPackedSize, (void *, size_t *))                                 \
  F(int, LockTensorBuffer, (void *, void **, int))                                      \
  F(int, UnlockTensorBuffer, (void *))                                                  \
  F(int, RunCompiledModel, (void *, size_t, size_t, void **, size_t, void **))
#define DECLARE(result, name, arguments) static result(*name) arguments;
FUNCTIONS(DECLARE)

enum { CPU = 1, READ = 0, WRITE = 1, PER_TENSOR = 1, BUILTIN_KERNELS = 2 };

typedef struct {
  const char *name, *tensor;
  Type type; /* as in the file: free sizes are negative */
  bool quantised;
  Quantisation quantisation;
  int32_t sizes[MOST_DIMENSIONS]; /* as it is run */
  void *buffer;
  size_t bytes;
} Tensor;

static struct {
  void *environment, *model, *compiled;
  size_t counts[2];
  Tensor tensors[2][MOST_TENSORS]; /* inputs, outputs */
  long load_ns, baseline_peak, baseline_resident;
} now;

static char problem[512];
static FILE *replies;

static bool fail(const char *form, ...) {
  va_list arguments;
  va_start(arguments, form);
  vsnprintf(problem, sizeof problem, form, arguments);
  va_end(arguments);
  return false;
}

static long clock_ns(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1000000000L + at.tv_nsec;
}

/* ---- JSON: the requests of one known writer, in one line ---- */

/* The value of a key, or NULL. Values that hold the text of a key themselves don't occur. */
static const char *value_of(const char *line, const char *key) {
  char quoted[40];
  snprintf(quoted, sizeof quoted, "\"%s\":", key);
  const char *at = strstr(line, quoted);
  if (!at) return NULL;
  at += strlen(quoted);
  while (*at == ' ') at++;
  return strncmp(at, "null", 4) ? at : NULL;
}

static double number_of(const char *line, const char *key, double otherwise) {
  const char *at = value_of(line, key);
  return at ? strtod(at, NULL) : otherwise;
}

static char *put_utf8(char *to, unsigned code) {
  if (code < 0x80) {
    *to++ = (char)code;
  } else if (code < 0x800) {
    *to++ = (char)(0xC0 | code >> 6);
    *to++ = (char)(0x80 | (code & 0x3F));
  } else {
    *to++ = (char)(0xE0 | code >> 12);
    *to++ = (char)(0x80 | (code >> 6 & 0x3F));
    *to++ = (char)(0x80 | (code & 0x3F));
  }
  return to;
}

/* Copies the string that begins at a quotation mark; gives the place after it, or NULL. */
static const char *read_string(const char *at, char *to, size_t room) {
  char *end = to + room - 4;
  if (*at++ != '"') return NULL;
  while (*at && *at != '"' && to < end) {
    if (*at != '\\') {
      *to++ = *at++;
    } else if (at[1] == 'u') {
      char digits[5] = {0};
      strncpy(digits, at + 2, 4);
      to = put_utf8(to, (unsigned)strtoul(digits, NULL, 16));
      at += 2 + strlen(digits);
    } else {
      at++;
      *to++ = *at == 'n' ? '\n' : *at == 't' ? '\t' : *at;
      at++;
    }
  }
  *to = 0;
  return *at == '"' ? at + 1 : NULL;
}

/* The n-th string of a list. */
static bool string_in_list(const char *at, size_t n, char *to, size_t room) {
  if (!at || *at++ != '[') return false;
  for (size_t i = 0;; i++) {
    at += strspn(at, " ,");
    if (!(at = read_string(at, to, room))) return false;
    if (i == n) return true;
  }
}

static void print_string(const char *text) {
  fputc('"', replies);
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') fputc('\\', replies);
    if ((unsigned char)*text < 0x20)
      fputc(' ', replies);
    else
      fputc(*text, replies);
  }
  fputc('"', replies);
}

/* ---- the machine ---- */

static long status_bytes(const char *name) {
  char line[256];
  long kilobytes = 0;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (!strncmp(line, name, strlen(name))) kilobytes = strtol(line + strlen(name) + 1, NULL, 10);
  if (file) fclose(file);
  return kilobytes * 1024;
}

static bool bind_to(const char *list) {
  cpu_set_t chosen;
  CPU_ZERO(&chosen);
  if (!list || list[1] == ']') return true;
  for (const char *at = list; *at && *at != ']';) {
    char *end;
    long core = strtol(++at, &end, 10);
    if (core < 0 || core >= sysconf(_SC_NPROCESSORS_CONF) || core >= CPU_SETSIZE)
      return fail("there is no core %ld", core);
    CPU_SET((size_t)core, &chosen);
    at = end;
  }
  return sched_setaffinity(0, sizeof chosen, &chosen) ? fail("the cores are refused") : true;
}

/* ---- LiteRT ---- */

static bool open_library(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) return fail("LiteRT's library can't be loaded: %s", dlerror());
#define FIND(result, name, arguments)                        \
  *(void **)&name = dlsym(library, "LiteRt" #name);          \
  if (!name) return fail("LiteRT's library has no " #name);
  FUNCTIONS(FIND)
  return true;
}

static bool ok(int status, const char *what) {
  return status ? fail("LiteRT could not %s (status %d)", what, status) : true;
}

static int rank_of(const Tensor *tensor) { return (int)(tensor->type.layout.rank_and_flags & 127); }

static const char *dtype_of(const Tensor *tensor) {
  switch (tensor->type.element) {
    case 1: return "float32";
    case 2: return "int32";
    case 3: return "uint8";
    case 4: return "int64";
    case 6: return "bool";
    case 7: return "int16";
    case 9: return "int8";
    case 10: return "float16";
    case 11: return "float64";
    case 16: return "uint32";
    default: return NULL;
  }
}

static bool read_tensor(void *handle, Tensor *tensor) {
  int kind = 0;
  if (!ok(GetTensorName(handle, &tensor->tensor), "name a tensor")) return false;
  if (!ok(GetRankedTensorType(handle, &tensor->type), "tell a tensor's type")) return false;
  if (!dtype_of(tensor)) return fail("tensor '%s' has a type that isn't known here", tensor->tensor);
  GetQuantizationTypeId(handle, &kind);
  tensor->quantised =
      kind == PER_TENSOR && !GetPerTensorQuantization(handle, &tensor->quantisation);
  return true;
}

static bool read_signature(void) {
  void *signature, *handle;
  if (!ok(GetModelSignature(now.model, 0, &signature), "find a signature")) return false;
  GetNumSignatureInputs(signature, &now.counts[0]);
  GetNumSignatureOutputs(signature, &now.counts[1]);
  if (now.counts[0] > MOST_TENSORS || now.counts[1] > MOST_TENSORS)
    return fail("the model has more than %d inputs or outputs", MOST_TENSORS);
  for (int side = 0; side < 2; side++)
    for (size_t i = 0; i < now.counts[side]; i++) {
      Tensor *tensor = &now.tensors[side][i];
      memset(tensor, 0, sizeof *tensor);
      (side ? GetSignatureOutputName : GetSignatureInputName)(signature, i, &tensor->name);
      int status = (side ? GetSignatureOutputTensorByIndex
                         : GetSignatureInputTensorByIndex)(signature, i, &handle);
      if (!ok(status, "find a tensor") || !read_tensor(handle, tensor)) return false;
    }
  return true;
}

static bool compile(int threads, bool xnnpack) {
  void *options, *cpu;
  char *text = malloc(80);
  int length = snprintf(text, 80, "num_threads = %d\n", threads);
  if (!xnnpack) snprintf(text + length, 80 - (size_t)length, "kernel_mode = %d\n", BUILTIN_KERNELS);
  return ok(CreateOptions(&options), "make options") &&
         ok(SetOptionsHardwareAccelerators(options, CPU), "choose the CPU") &&
         ok(CreateOpaqueOptions("xnnpack", text, free, &cpu), "set the threads") &&
         ok(AddOpaqueOptions(options, cpu), "set the threads") &&
         ok(CreateCompiledModel(now.environment, now.model, options, &now.compiled),
            "prepare the model: an operator may be missing in this build");
}

/* Gives free sizes their value, and every tensor its memory. */
static bool allocate(int batch) {
  Layout layouts[MOST_TENSORS];
  for (size_t i = 0; i < now.counts[0]; i++) {
    Tensor *tensor = &now.tensors[0][i];
    bool changed = false;
    for (int d = 0; d < rank_of(tensor); d++) {
      int32_t size = tensor->type.layout.sizes[d];
      tensor->sizes[d] = d == 0 && batch ? batch : size < 0 ? 1 : size;
      changed |= tensor->sizes[d] != size;
    }
    if (changed && !ok(CompiledModelResizeInputTensorNonStrict(now.compiled, 0, i, tensor->sizes,
                                                               (size_t)rank_of(tensor)),
                       "resize an input"))
      return false;
  }
  if (!ok(GetCompiledModelOutputTensorLayouts(now.compiled, 0, now.counts[1], layouts, true),
          "plan the memory"))
    return false;
  for (size_t i = 0; i < now.counts[1]; i++)
    memcpy(now.tensors[1][i].sizes, layouts[i].sizes, sizeof layouts[i].sizes);
  for (int side = 0; side < 2; side++)
    for (size_t i = 0; i < now.counts[side]; i++) {
      Tensor *tensor = &now.tensors[side][i];
      Type type = tensor->type;
      void *needs;
      memcpy(type.layout.sizes, tensor->sizes, sizeof tensor->sizes);
      int status = (side ? GetCompiledModelOutputBufferRequirements
                         : GetCompiledModelInputBufferRequirements)(now.compiled, 0, i, &needs);
      if (!ok(status, "tell what memory it needs") ||
          !ok(CreateManagedTensorBufferFromRequirements(now.environment, &type, needs,
                                                        &tensor->buffer),
              "get memory") ||
          !ok(GetTensorBufferPackedSize(tensor->buffer, &tensor->bytes), "tell a tensor's size"))
        return false;
    }
  return true;
}

static bool load(const char *line) {
  char path[4096];
  const char *named = value_of(line, "path"), *xnnpack = value_of(line, "xnnpack");
  if (!named || !read_string(named, path, sizeof path)) return fail("no path");
  if (!bind_to(value_of(line, "cpus"))) return false;
  now.baseline_peak = status_bytes("VmHWM");
  now.baseline_resident = status_bytes("VmRSS");
  long begin = clock_ns();
  if (!ok(CreateEnvironment(0, NULL, &now.environment), "start") ||
      !ok(CreateModelFromFile(now.environment, path, &now.model), "read the file") || !read_signature() ||
      !compile((int)number_of(line, "threads", 1), !xnnpack || *xnnpack != 'f') ||
      !allocate((int)number_of(line, "batch", 0)))
    return false;
  now.load_ns = clock_ns() - begin;
  fprintf(replies, "\"version\": \"C API\", \"import_ns\": 0, \"load_ns\": %ld", now.load_ns);
  return true;
}

static bool invoke(void) {
  void *buffers[2][MOST_TENSORS];
  for (int side = 0; side < 2; side++)
    for (size_t i = 0; i < now.counts[side]; i++) buffers[side][i] = now.tensors[side][i].buffer;
  return ok(RunCompiledModel(now.compiled, 0, now.counts[0], buffers[0], now.counts[1], buffers[1]),
            "run the model");
}

static bool copy(Tensor *tensor, void *memory, int mode) {
  void *held;
  if (!ok(LockTensorBuffer(tensor->buffer, &held, mode), "open a tensor")) return false;
  if (mode == WRITE)
    memcpy(held, memory, tensor->bytes);
  else
    memcpy(memory, held, tensor->bytes);
  return ok(UnlockTensorBuffer(tensor->buffer), "close a tensor");
}

/* ---- answers ---- */

static void print_shape(const Tensor *tensor, const int32_t *sizes) {
  fputc('[', replies);
  for (int d = 0; d < rank_of(tensor); d++) {
    if (d) fputs(", ", replies);
    if (sizes[d] < 0)
      fputs("null", replies);
    else
      fprintf(replies, "%d", sizes[d]);
  }
  fputc(']', replies);
}

static void print_side(int side) {
  fprintf(replies, "\"%s\": [", side ? "outputs" : "inputs");
  for (size_t i = 0; i < now.counts[side]; i++) {
    const Tensor *tensor = &now.tensors[side][i];
    fprintf(replies, "%s{\"name\": ", i ? ", " : "");
    print_string(tensor->name);
    fputs(", \"tensor\": ", replies);
    print_string(tensor->tensor);
    fputs(", \"shape\": ", replies);
    print_shape(tensor, tensor->type.layout.sizes);
    fprintf(replies, ", \"dtype\": \"%s\", ", dtype_of(tensor));
    if (tensor->quantised)
      fprintf(replies, "\"scale\": %.9g, \"zero_point\": %lld}", tensor->quantisation.scale,
              (long long)tensor->quantisation.zero_point);
    else
      fputs("\"scale\": null, \"zero_point\": null}", replies);
  }
  fputs("], ", replies);
}

static bool describe(const char *line) {
  cpu_set_t allowed;
  (void)line;
  print_side(0);
  print_side(1);
  fputs("\"operators\": [], \"providers\": [], \"cpus\": [", replies);
  sched_getaffinity(0, sizeof allowed, &allowed);
  bool first = true;
  for (int i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET((size_t)i, &allowed)) {
      fprintf(replies, "%s%d", first ? "" : ", ", i);
      first = false;
    }
  fputc(']', replies);
  return true;
}

/* Floats in 0..1, all levels of 8 bits, zeros for indices. */
static bool fill_inputs(unsigned seed) {
  srand(seed);
  for (size_t i = 0; i < now.counts[0]; i++) {
    Tensor *tensor = &now.tensors[0][i];
    char *made = calloc(1, tensor->bytes + 1);
    const char *kind = dtype_of(tensor);
    for (size_t k = 0; !strcmp(kind, "float32") && k < tensor->bytes / 4; k++)
      ((float *)(void *)made)[k] = (float)rand() / (float)RAND_MAX;
    for (size_t k = 0; strstr(kind, "int8") && k < tensor->bytes; k++) made[k] = (char)(rand() >> 8);
    bool done = copy(tensor, made, WRITE);
    free(made);
    if (!done) return false;
  }
  return true;
}

static void print_times(const char *name, const long *times, size_t count) {
  fprintf(replies, "\"%s\": [", name);
  for (size_t i = 0; i < count; i++) fprintf(replies, "%s%ld", i ? ", " : "", times[i]);
  fputs("], ", replies);
}

static bool measure(const char *line) {
  size_t discard = (size_t)number_of(line, "discard", 0), n = (size_t)number_of(line, "n", 1);
  long until = clock_ns() + (long)(number_of(line, "max_seconds", 1e6) * 1e9);
  if (!fill_inputs((unsigned)number_of(line, "seed", 0))) return false;
  long *times = malloc((discard + n) * sizeof *times);
  size_t done = 0;
  bool fine = true;
  while (fine && done < discard + n) {
    long begin = clock_ns();
    fine = invoke();
    long end = clock_ns();
    times[done++] = end - begin;
    if (end > until && done > discard) break;
  }
  if (fine) {
    print_times("ns", times + discard, done - discard);
    print_times("discarded_ns", times, discard);
    fputs("\"energy_uj\": null", replies);
  }
  free(times);
  return fine;
}

/* Moves one tensor's bytes between its memory and a file. */
static bool transfer(Tensor *tensor, FILE *file, int mode) {
  char *bytes = malloc(tensor->bytes + 1);
  bool fine = mode == READ ? copy(tensor, bytes, READ) &&
                                 fwrite(bytes, 1, tensor->bytes, file) == tensor->bytes
                           : fread(bytes, 1, tensor->bytes, file) == tensor->bytes &&
                                 copy(tensor, bytes, WRITE);
  free(bytes);
  return fine || *problem ? fine : fail("a file of raw values is short, or the disk is full");
}

static bool open_files(const char *line, FILE *files[2][MOST_TENSORS]) {
  for (int side = 0; side < 2; side++)
    for (size_t i = 0; i < now.counts[side]; i++) {
      char path[4096];
      if (!string_in_list(value_of(line, side ? "outputs" : "inputs"), i, path, sizeof path))
        return fail("too few files are named");
      files[side][i] = fopen(path, side ? "wb" : "rb");
      if (!files[side][i]) return fail("'%s' can't be opened", path);
    }
  return true;
}

static bool predict(const char *line) {
  FILE *files[2][MOST_TENSORS] = {{NULL}};
  bool fine = open_files(line, files);
  long runs = (long)number_of(line, "runs", 1);
  for (long run = 0; fine && run < runs; run++) {
    for (size_t i = 0; fine && i < now.counts[0]; i++)
      fine = transfer(&now.tensors[0][i], files[0][i], WRITE);
    fine = fine && invoke();
    for (size_t i = 0; fine && i < now.counts[1]; i++)
      fine = transfer(&now.tensors[1][i], files[1][i], READ);
  }
  for (int side = 0; side < 2; side++)
    for (size_t i = 0; i < now.counts[side]; i++)
      if (files[side][i] && fclose(files[side][i]) && fine) fine = fail("the disk is full");
  if (!fine) return false;
  fputs("\"shapes\": [", replies);
  for (size_t i = 0; i < now.counts[1]; i++) {
    if (i) fputs(", ", replies);
    print_shape(&now.tensors[1][i], now.tensors[1][i].sizes);
  }
  fputc(']', replies);
  return true;
}

static bool memory(const char *line) {
  (void)line;
  fprintf(replies,
          "\"peak_bytes\": %ld, \"resident_bytes\": %ld, \"baseline_peak_bytes\": %ld, "
          "\"baseline_resident_bytes\": %ld",
          status_bytes("VmHWM"), status_bytes("VmRSS"), now.baseline_peak, now.baseline_resident);
  return true;
}

static const struct {
  const char *name;
  bool (*run)(const char *);
} actions[] = {
    {"load", load}, {"describe", describe}, {"time", measure},
    {"predict", predict}, {"memory", memory},
};

/* Answers into a buffer first: what was begun before an error must not go out. */
static void answer(const char *line, FILE *out) {
  char *text = NULL, what[32] = "";
  size_t size = 0;
  const char *named = value_of(line, "do");
  bool fine = false;
  *problem = 0;
  replies = open_memstream(&text, &size);
  if (named) read_string(named, what, sizeof what);
  fail("'%s' is nothing that this runner does", what);
  for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
    if (!strcmp(actions[i].name, what)) {
      *problem = 0;
      if (actions[i].run != load && !now.compiled)
        fail("nothing is loaded");
      else
        fine = actions[i].run(line);
    }
  fclose(replies);
  replies = out;
  if (fine) {
    fprintf(out, "{\"ok\": true, %s}\n", text);
  } else {
    fputs("{\"ok\": false, \"error\": ", out);
    print_string(problem);
    fputs("}\n", out);
  }
  fflush(out);
  free(text);
}

int main(int count, char **words) {
  char *line = NULL;
  size_t room = 0;
  FILE *out = fdopen(dup(1), "w"); /* what libraries print goes to standard error */
  dup2(2, 1);
  if (count != 2 || !open_library(words[1])) {
    fprintf(stderr, "%s\n", count == 2 ? problem : "usage: runner LIBRARY");
    return 1;
  }
  while (getline(&line, &room, stdin) > 0) {
    if (strstr(line, "\"do\": \"quit\"")) break;
    answer(line, out);
  }
  return 0;
}
