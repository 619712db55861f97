// Loading: file ranges to tensors in one pass. A thread takes a panel of 16 rows, reads, dequantises and packs it.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "../runtime/float_mode.h"
#include "../runtime/isa.h"
#include "abi.h"

namespace octavo {

namespace {

constexpr int64_t panel_rows = packed_rows;

struct Failure {
  int32_t code;
  std::string text;
};

std::string text_of(const char* format, ...) __attribute__((format(printf, 1, 2)));
std::string text_of(const char* format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return text;
}

class File {
 public:
  File() = default;
  // A pipe would keep a blocking open waiting.
  explicit File(const char* path) : path_(path), descriptor_(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (descriptor_ < 0) throw Failure{OCTAVO_LOAD_NOT_READABLE, text_of("%s: %s", path, std::strerror(errno))};
    struct stat found;
    if (fstat(descriptor_, &found) == 0 && S_ISREG(found.st_mode)) return;
    close(descriptor_);
    throw Failure{OCTAVO_LOAD_NOT_READABLE, text_of("%s: not a file", path)};
  }
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  File& operator=(File&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  bool is(const char* path) const { return path_ && std::strcmp(path_, path) == 0; }

  void read(int64_t offset, int64_t bytes, uint8_t* target) const {
    while (bytes > 0) {
      const ssize_t got = pread(descriptor_, target, static_cast<size_t>(bytes), offset);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw Failure{OCTAVO_LOAD_NOT_READABLE, text_of("%s: %s", path_, std::strerror(errno))};
      if (got == 0) {
        throw Failure{OCTAVO_LOAD_INVALID, text_of("%s: ends before byte %lld, which its header promises", path_,
                                                   static_cast<long long>(offset + bytes))};
      }
      offset += got;
      bytes -= got;
      target += got;
    }
  }

 private:
  const char* path_ = nullptr;
  int descriptor_ = -1;
};

// Of one thread. Thousands of files are not all open at once: the parts of a tensor lie in order.
struct Buffers {
  std::vector<uint8_t> bytes;
  std::vector<float> span;  // one row, where not all of it is taken
  std::vector<float> values;
  std::vector<int8_t> codes;
  std::vector<uint16_t> halves;
  File file;
};

// Where a part lies in the target, and what is read for it: of each row a span of whole blocks around the columns taken. A
// part of a vector is one row.
struct Part {
  const octavo_source_part& source;
  const SourceFormat& format;
  int64_t first_row, rows;        // of the target
  int64_t first_column, columns;  // likewise
  int64_t span_start, span;       // elements: the first row's start in the file's tensor, and the size of every row's
  int64_t skip;                   // elements of a span before the columns taken

  SourceType type() const { return static_cast<SourceType>(source.type); }
  int64_t bytes(int64_t elements) const { return elements / format.block_elements * format.block_bytes; }
};

class Loader {
 public:
  Loader(const octavo_load_request& request, const RowFunctions& rows) : request_(request), rows_(rows) {
    if (request.vector) total_rows_ = 1;
    for (int64_t i = 0; i < request.part_count; i++) {
      add(request.parts[i]);
    }
    piece_ = total_rows_ < panel_rows ? total_rows_ : panel_rows;  // buffers are as large as a piece
  }

  void run() {
    if (total_rows_ == 0) return;
    const int64_t pieces = (total_rows_ + piece_ - 1) / piece_;
    const int threads = static_cast<int>(request_.threads < pieces ? request_.threads : pieces);
    std::vector<std::thread> others;
    try {
      for (int i = 1; i < threads; i++) others.emplace_back([this, pieces] { work(pieces); });
    } catch (const std::system_error&) {  // no more threads: those that are there do it all
    }
    work(pieces);
    for (std::thread& thread : others) thread.join();
    if (failed_) throw failure_;
  }

 private:
  void add(const octavo_source_part& source) {
    const bool known = source.type >= 0 && source.type < source_type_count;
    const SourceFormat& format = source_formats[known ? source.type : 0];
    const int64_t row = source.columns, block = format.block_elements;
    const bool inside = source.first_row >= 0 && source.row_count >= 0 && source.first_row + source.row_count <= source.rows &&
                        source.first_column >= 0 && source.column_count > 0 &&
                        source.first_column + source.column_count <= row;
    const bool fits = request_.vector ? !request_.scale && (source.row_count < 2 || source.column_count == row)
                                      : parts_.empty() || source.column_count == columns_;
    if (!known || !inside || !fits) {
      throw Failure{OCTAVO_LOAD_BAD_ARGUMENT,
                    text_of("tensor %s, type %d: %lld x %lld from [%lld, %lld] of %lld x %lld", source.name, source.type,
                            static_cast<long long>(source.row_count), static_cast<long long>(source.column_count),
                            static_cast<long long>(source.first_row), static_cast<long long>(source.first_column),
                            static_cast<long long>(source.rows), static_cast<long long>(row))};
    }
    if (row % block != 0 || source.bytes != row / block * format.block_bytes * source.rows) {
      throw Failure{OCTAVO_LOAD_INVALID, text_of("%s: %lld bytes for %lld x %lld elements of %s", source.file,
                                                 static_cast<long long>(source.bytes), static_cast<long long>(source.rows),
                                                 static_cast<long long>(row), format.name)};
    }
    const int64_t rows = request_.vector ? source.row_count > 0 : source.row_count;
    const int64_t columns = request_.vector ? source.row_count * source.column_count : source.column_count;
    const int64_t first = source.first_row * row + source.first_column, end = first + columns;
    // The scale of a row is of all its columns.
    const int64_t start = request_.scale ? source.first_row * row : first / block * block;
    const int64_t span = request_.scale ? row : (end + block - 1) / block * block - start;
    parts_.push_back({source, format, request_.vector ? 0 : total_rows_, rows, request_.vector ? columns_ : 0, columns, start,
                      span, first - start});
    total_rows_ = request_.vector ? 1 : total_rows_ + rows;
    columns_ = request_.vector ? columns_ + columns : columns;
  }

  // Takes pieces until none is left, or one has failed.
  void work(int64_t pieces) {
    const DefaultFloatMode mode;
    try {
      int64_t bytes = 0, span = 0;
      for (const Part& part : parts_) {
        bytes = std::max(bytes, part.bytes(part.span));
        if (part.span != part.columns) span = std::max(span, part.span);
      }
      Buffers buffers{
          std::vector<uint8_t>(static_cast<size_t>(bytes * piece_)),
          std::vector<float>(static_cast<size_t>(span)),
          std::vector<float>(static_cast<size_t>(columns_ * piece_)),
          // Codes are packed in groups of four; the padding stays zero.
          std::vector<int8_t>(request_.scale ? static_cast<size_t>((columns_ + 63) / 64 * 64) : 0),
          std::vector<uint16_t>(request_.packed && !request_.scale ? static_cast<size_t>(columns_ * piece_) : 0),
          {},
      };
      for (int64_t piece; !failed_ && (piece = next_.fetch_add(1)) < pieces;) {
        const int64_t first = piece * piece_, count = first + piece_ < total_rows_ ? piece_ : total_rows_ - first;
        read_rows(first, count, buffers);
        write_rows(first, count, buffers);
      }
    } catch (const Failure& failure) {
      if (!failed_.exchange(true)) failure_ = failure;
    } catch (const std::bad_alloc&) {
      if (!failed_.exchange(true)) failure_ = {OCTAVO_LOAD_OUT_OF_MEMORY, "no memory for the rows being loaded"};
    }
  }

  void read_rows(int64_t first, int64_t count, Buffers& buffers) const {
    // The last part that begins at or before `first`; in a vector all begin there.
    const auto begins_after = [](int64_t row, const Part& part) { return row < part.first_row; };
    auto part = request_.vector ? parts_.begin() : std::upper_bound(parts_.begin(), parts_.end(), first, begins_after) - 1;
    for (; part != parts_.end() && part->first_row < first + count; ++part) {
      const int64_t begin = std::max(first, part->first_row), end = std::min(first + count, part->first_row + part->rows);
      if (begin < end) read_part(*part, begin, end, first, buffers);
    }
  }

  // Rows `begin ... end` of the target to `values`, which begin with row `first`.
  void read_part(const Part& part, int64_t begin, int64_t end, int64_t first, Buffers& buffers) const {
    const octavo_source_part& source = part.source;
    if (!buffers.file.is(source.file)) buffers.file = File(source.file);
    const int64_t row_bytes = part.bytes(source.columns), span_bytes = part.bytes(part.span), rows = end - begin;
    const int64_t offset = source.offset + part.bytes(part.span_start) + (begin - part.first_row) * row_bytes;
    if (span_bytes == row_bytes) buffers.file.read(offset, rows * row_bytes, buffers.bytes.data());
    for (int64_t i = 0; i < rows; i++) {
      uint8_t* bytes = buffers.bytes.data() + i * span_bytes;
      if (span_bytes != row_bytes) buffers.file.read(offset + i * row_bytes, span_bytes, bytes);
      float* target = buffers.values.data() + (begin + i - first) * columns_ + part.first_column;
      float* span = part.span == part.columns ? target : buffers.span.data();
      rows_.dequantize(part.type(), bytes, part.span, span);
      const int64_t skipped = request_.scale ? 0 : part.skip, checked = request_.scale ? part.span : part.columns;
      const uint32_t largest = rows_.absmax_bits(span + skipped, checked);
      if (largest >= limit_bits()) {
        const int64_t element = part.span_start + (begin + i - part.first_row) * source.columns + skipped;
        throw out_of_range(source, element, span + skipped);
      }
      if (request_.scale) std::memcpy(request_.scale + begin + i, &largest, sizeof largest);
      if (span != target) std::memcpy(target, span + part.skip, static_cast<size_t>(part.columns) * sizeof(float));
    }
  }

  void write_rows(int64_t first, int64_t count, Buffers& buffers) const {
    const float* values = buffers.values.data();
    if (request_.scale) {
      for (int64_t row = 0; row < count; row++) write_codes(first + row, values + row * columns_, buffers.codes.data());
    } else if (!request_.packed) {
      write_floats(first * columns_, values, count * columns_);
    } else if (dtype() == DType::float32) {
      write_panel(first, count, values, static_cast<float*>(request_.target));
    } else {
      convert(values, count * columns_, buffers.halves.data());
      write_panel(first, count, buffers.halves.data(), static_cast<uint16_t*>(request_.target));
    }
  }

  // Packed [panel][k][16]: a row is a column of its panel.
  template <class T>
  void write_panel(int64_t first, int64_t count, const T* rows, T* target) const {
    T* panel = target + first * columns_;
    for (int64_t k = 0; k < columns_; k++) {
      for (int64_t row = 0; row < count; row++) panel[k * panel_rows + row] = rows[row * columns_ + k];
    }
  }

  // Bits of the least magnitude that the target does not hold.
  uint32_t limit_bits() const {
    switch (dtype()) {
      case DType::float16: return 0x477ff000u;   // 65520 rounds to infinity
      case DType::bfloat16: return 0x7f7f8000u;  // so does half a step above the largest bfloat16
      default: return 0x7f800000u;               // infinity itself; codes have a float32 scale
    }
  }

  // `x`: from `element` of the tensor on; one of them is beyond the limit.
  Failure out_of_range(const octavo_source_part& source, int64_t element, const float* x) const {
    while (rows_.absmax_bits(x, 1) < limit_bits()) x++, element++;
    char what[64];
    if (*x != *x) {
      std::snprintf(what, sizeof what, "NaN");
    } else {
      std::snprintf(what, sizeof what, "%g, which %s cannot hold", static_cast<double>(*x),
                    dtype() == DType::float16 ? "float16" : dtype() == DType::bfloat16 ? "bfloat16" : "float32");
    }
    return {OCTAVO_LOAD_INVALID,
            text_of("tensor %s holds %s, at [%lld, %lld]; %s: %s", source.name, what,
                    static_cast<long long>(element / source.columns), static_cast<long long>(element % source.columns),
                    dtype() == DType::float16 && *x == *x ? "files in bfloat16 would keep it" : "the file is damaged",
                    source.file)};
  }

  void write_codes(int64_t row, const float* x, int8_t* codes) const {
    const float absmax = request_.scale[row];
    int8_t* target = static_cast<int8_t*>(request_.target);
    if (!request_.packed) {
      write_code_row(x, absmax, target + row * columns_);
      return;
    }
    write_code_row(x, absmax, codes);
    const int64_t groups = (columns_ + 63) / 64 * 16;
    int8_t* panel = target + row / panel_rows * groups * 64 + row % panel_rows * 4;
    for (int64_t group = 0; group < groups; group++) std::memcpy(panel + group * 64, codes + group * 4, 4);
  }

  void write_code_row(const float* x, float absmax, int8_t* codes) const {
    if (absmax == 0) {
      std::memset(codes, 0, static_cast<size_t>(columns_));
    } else {
      rows_.codes(x, columns_, code_factor(absmax), codes);
    }
  }

  void write_floats(int64_t start, const float* x, int64_t count) const {
    if (dtype() == DType::float32) {
      std::memcpy(static_cast<float*>(request_.target) + start, x, static_cast<size_t>(count) * sizeof(float));
    } else {
      convert(x, count, static_cast<uint16_t*>(request_.target) + start);
    }
  }

  void convert(const float* x, int64_t count, uint16_t* target) const {
    if (dtype() == DType::float16) {
      rows_.to_f16(x, count, target);
    } else {
      rows_.to_bf16(x, count, target);
    }
  }

  DType dtype() const { return static_cast<DType>(request_.dtype); }

  const octavo_load_request& request_;
  const RowFunctions& rows_;
  std::vector<Part> parts_;
  int64_t columns_ = 0, total_rows_ = 0, piece_;
  std::atomic<int64_t> next_{0};
  std::atomic<bool> failed_{false};
  Failure failure_{};
};

// Packed to row-major.
template <class T>
void unpack(const T* packed, int64_t rows, int64_t columns, T* target) {
  for (int64_t row = 0; row < rows; row++) {
    const T* column = packed + row / panel_rows * columns * panel_rows + row % panel_rows;
    for (int64_t k = 0; k < columns; k++) target[row * columns + k] = column[k * panel_rows];
  }
}

void unpack_int8(const int8_t* packed, int64_t rows, int64_t columns, int8_t* target) {
  const int64_t groups = (columns + 63) / 64 * 16;
  for (int64_t row = 0; row < rows; row++) {
    const int8_t* panel = packed + row / panel_rows * groups * 64 + row % panel_rows * 4;
    for (int64_t k = 0; k < columns; k++) target[row * columns + k] = panel[k / 4 * 64 + k % 4];
  }
}

int32_t report(const Failure& failure, char* error, int64_t error_size) {
  if (error_size > 0) std::snprintf(error, static_cast<size_t>(error_size), "%s", failure.text.c_str());
  return failure.code;
}

}  // namespace

}  // namespace octavo

extern "C" {

int32_t octavo_load(const octavo_load_request* request, const char* isa, char* error, int64_t error_size) try {
  const octavo::InstructionSet* found = octavo::find_isa(isa);
  if (!found) throw octavo::Failure{OCTAVO_LOAD_BAD_ARGUMENT, octavo::text_of("no instruction set %s", isa)};
  octavo::Loader(*request, *found->rows).run();
  return OCTAVO_LOAD_OK;
} catch (const octavo::Failure& failure) {
  return octavo::report(failure, error, error_size);
} catch (const std::exception& exception) {
  return octavo::report({OCTAVO_LOAD_OUT_OF_MEMORY, exception.what()}, error, error_size);
}

int32_t octavo_unpack(const void* packed, int32_t dtype, int64_t rows, int64_t columns, void* target, char* error,
                      int64_t error_size) {
  switch (static_cast<octavo::DType>(dtype)) {
    case octavo::DType::int8:
      octavo::unpack_int8(static_cast<const int8_t*>(packed), rows, columns, static_cast<int8_t*>(target));
      return OCTAVO_LOAD_OK;
    case octavo::DType::float32:
      octavo::unpack(static_cast<const float*>(packed), rows, columns, static_cast<float*>(target));
      return OCTAVO_LOAD_OK;
    case octavo::DType::float16:
    case octavo::DType::bfloat16:
      octavo::unpack(static_cast<const uint16_t*>(packed), rows, columns, static_cast<uint16_t*>(target));
      return OCTAVO_LOAD_OK;
    default:
      return octavo::report({OCTAVO_LOAD_BAD_ARGUMENT, "only int8 and float tensors are packed"}, error, error_size);
  }
}

}  // extern "C"
