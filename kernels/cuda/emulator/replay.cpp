// replay.cpp — one launch from a file, for the sanitizers: arrays are allocated one by one, exactly as
// long as they are, and come back in another file. Compiled once and linked with every such program.
//
// The file: the number of arrays, and of each its bytes; then grid, block, dynamic shared memory,
// order, and the number of arguments, and of each an array's number and −1, or −1 and its bytes
// (−1 twice: null), or both: bytes that begin with the array's address. Numbers are long long,
// and a length stands before what it measures.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "replay.h"

namespace emulator {
namespace {

class File {
 public:
  File(const char *name, const char *mode) : file_(std::fopen(name, mode)) {
    if (!file_) std::abort();
  }
  ~File() { std::fclose(file_); }
  long long number() {
    long long found;
    bytes(&found, sizeof found);
    return found;
  }
  void bytes(void *to, size_t size) {
    if (std::fread(to, 1, size, file_) != size) std::abort();
  }
  void write(const void *from, size_t size) { std::fwrite(from, 1, size, file_); }

 private:
  std::FILE *file_;
};

struct Piece {
  size_t size;
  void *start;
};

std::vector<Piece> read_pieces(File &file) {
  std::vector<Piece> found(static_cast<size_t>(file.number()));
  for (Piece &own : found) {
    own.size = static_cast<size_t>(file.number());
    own.start = std::malloc(own.size);
    file.bytes(own.start, own.size);
  }
  return found;
}

}  // namespace

int replay(char **argv, const Entry *entries, unsigned count) {
  const Entry *entry = entries;
  while (std::strcmp(entry->kernel, argv[3]))
    if (++entry == entries + count) std::abort();
  File in(argv[1], "rb");
  std::vector<Piece> arrays = read_pieces(in);
  Request request{};
  for (unsigned &n : request.grid) n = static_cast<unsigned>(in.number());
  for (unsigned &n : request.block) n = static_cast<unsigned>(in.number());
  request.shared = static_cast<unsigned long long>(in.number());
  request.order = static_cast<unsigned>(in.number());
  request.count = static_cast<unsigned>(in.number());
  std::vector<std::vector<char>> values(request.count);
  std::vector<void *> pointers(request.count);
  std::vector<unsigned long long> sizes(request.count);
  for (unsigned i = 0; i < request.count; i++) {
    const long long array = in.number(), size = in.number();
    values[i].resize(size < 0 ? sizeof(void *) : static_cast<size_t>(size));
    if (size >= 0) in.bytes(values[i].data(), values[i].size());
    if (array >= 0) std::memcpy(values[i].data(), &arrays[array].start, sizeof(void *));
    pointers[i] = values[i].data();
    sizes[i] = values[i].size();
  }
  char error[512] = "";
  request.arguments = pointers.data();
  request.sizes = sizes.data();
  request.error = error;
  request.error_bytes = sizeof error;
  if (entry->launch(&request)) {
    std::fprintf(stderr, "%s\n", error);
    return 1;
  }
  File out(argv[2], "wb");
  for (const Piece &own : arrays) {
    out.write(own.start, own.size);
    std::free(own.start);
  }
  return 0;
}

}  // namespace emulator
