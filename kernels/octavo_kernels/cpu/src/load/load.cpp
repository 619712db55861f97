// Loading: file ranges to tensors in one pass. A thread takes a panel of 16 rows, reads, dequantises and packs it.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "../runtime/float_mode.h"
#include "../runtime/isa.h"
#include "abi.h"

namespace octavo {

namespace {

constexpr int64_t panel_rows = 16;
// Vectors are cut into pieces of this many rows, so that one of 49,152 elements is not as many reads.
constexpr int64_t vector_piece = 4096;

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
  File(File&& other) noexcept : path_(other.path_), descriptor_(other.descriptor_) { other.descriptor_ = -1; }
  File(const File&) = delete;

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
  const char* path_;
  int descriptor_;
};

// A part with its file open and its place among the rows of the target.
struct Part {
  const octavo_source_part& source;
  File file;
  int64_t first_row;
  int64_t row_bytes;
};

class Loader {
 public:
  Loader(const octavo_load_request& request, const RowFunctions& rows) : request_(request), rows_(rows) {
    columns_ = request.part_count > 0 ? request.parts[0].columns : 0;
    for (int64_t i = 0; i < request.part_count; i++) {
      const octavo_source_part& part = request.parts[i];
      if (part.type < 0 || part.type >= source_type_count || part.rows < 0 || part.columns != columns_ || part.columns < 1) {
        throw Failure{OCTAVO_LOAD_BAD_ARGUMENT,
                      text_of("part %lld: type %d, %lld x %lld", static_cast<long long>(i), part.type,
                              static_cast<long long>(part.rows), static_cast<long long>(part.columns))};
      }
      const SourceFormat& format = source_formats[part.type];
      const int64_t row_bytes = part.columns / format.block_elements * format.block_bytes;
      if (part.columns % format.block_elements != 0 || part.bytes != row_bytes * part.rows) {
        throw Failure{OCTAVO_LOAD_INVALID,
                      text_of("%s: %lld bytes for %lld x %lld elements of %s", part.file,
                              static_cast<long long>(part.bytes), static_cast<long long>(part.rows),
                              static_cast<long long>(part.columns), format.name)};
      }
      parts_.push_back({part, File(part.file), total_rows_, row_bytes});
      total_rows_ += part.rows;
    }
    piece_ = columns_ == 1 && !request.packed && !request.scale ? vector_piece : panel_rows;
    if (total_rows_ < piece_) piece_ = total_rows_ > 0 ? total_rows_ : 1;  // buffers are as large as a piece
  }

  void run() {
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
  // Takes pieces until none is left, or one has failed.
  void work(int64_t pieces) {
    const DefaultFloatMode mode;
    try {
      int64_t widest = 0;
      for (const Part& part : parts_) widest = part.row_bytes > widest ? part.row_bytes : widest;
      std::vector<uint8_t> bytes(static_cast<size_t>(widest * piece_));
      std::vector<float> values(static_cast<size_t>(columns_ * piece_));
      // Codes are packed in groups of four; the padding stays zero.
      std::vector<int8_t> codes(request_.scale ? static_cast<size_t>((columns_ + 63) / 64 * 64) : 0);
      std::vector<uint16_t> halves(request_.packed && !request_.scale ? static_cast<size_t>(columns_ * piece_) : 0);
      for (int64_t piece; !failed_ && (piece = next_.fetch_add(1)) < pieces;) {
        const int64_t first = piece * piece_, count = first + piece_ < total_rows_ ? piece_ : total_rows_ - first;
        read_rows(first, count, bytes.data(), values.data());
        write_rows(first, count, values.data(), codes.data(), halves.data());
      }
    } catch (const Failure& failure) {
      if (!failed_.exchange(true)) failure_ = failure;
    } catch (const std::bad_alloc&) {
      if (!failed_.exchange(true)) failure_ = {OCTAVO_LOAD_OUT_OF_MEMORY, "no memory for the rows being loaded"};
    }
  }

  void read_rows(int64_t first, int64_t count, uint8_t* bytes, float* values) const {
    for (const Part& part : parts_) {
      const int64_t begin = first > part.first_row ? first : part.first_row;
      const int64_t part_end = part.first_row + part.source.rows;
      const int64_t end = first + count < part_end ? first + count : part_end;
      if (begin >= end) continue;
      const int64_t offset = part.source.offset + (begin - part.first_row) * part.row_bytes;
      part.file.read(offset, (end - begin) * part.row_bytes, bytes);
      float* target = values + (begin - first) * columns_;
      const SourceType type = static_cast<SourceType>(part.source.type);
      if (columns_ == 1) {  // one column per row: the same as one row of as many columns
        rows_.dequantize(type, bytes, end - begin, target);
        continue;
      }
      for (int64_t row = 0; row < end - begin; row++) {
        rows_.dequantize(type, bytes + row * part.row_bytes, columns_, target + row * columns_);
      }
    }
  }

  void write_rows(int64_t first, int64_t count, const float* values, int8_t* codes, uint16_t* halves) const {
    if (request_.scale) {
      for (int64_t row = 0; row < count; row++) write_codes(first + row, values + row * columns_, codes);
      return;
    }
    check_range(first, values, count, rows_.absmax_bits(values, count * columns_));
    if (!request_.packed) {
      write_floats(first * columns_, values, count * columns_);
    } else if (dtype() == DType::float32) {
      write_panel(first, count, values, static_cast<float*>(request_.target));
    } else {
      convert(values, count * columns_, halves);
      write_panel(first, count, halves, static_cast<uint16_t*>(request_.target));
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

  // `largest`: the bits of the largest magnitude of these rows.
  void check_range(int64_t first, const float* values, int64_t count, uint32_t largest) const {
    const uint32_t limit = limit_bits();
    if (largest < limit) return;
    for (int64_t i = 0; i < count * columns_; i++) {
      if (rows_.absmax_bits(values + i, 1) >= limit) throw out_of_range(first + i / columns_, i % columns_, values[i]);
    }
  }

  Failure out_of_range(int64_t row, int64_t column, float value) const {
    const Part& part = part_of(row);
    char what[64];
    if (value != value) {
      std::snprintf(what, sizeof what, "NaN");
    } else {
      std::snprintf(what, sizeof what, "%g, which %s cannot hold", static_cast<double>(value),
                    dtype() == DType::float16 ? "float16" : dtype() == DType::bfloat16 ? "bfloat16" : "float32");
    }
    return {OCTAVO_LOAD_INVALID,
            text_of("tensor %s holds %s, at [%lld, %lld]; %s: %s", part.source.name, what,
                    static_cast<long long>(row - part.first_row), static_cast<long long>(column),
                    dtype() == DType::float16 && value == value ? "files in bfloat16 would keep it" : "the file is damaged",
                    part.source.file)};
  }

  void write_codes(int64_t row, const float* x, int8_t* codes) const {
    const uint32_t bits = rows_.absmax_bits(x, columns_);
    check_range(row, x, 1, bits);
    float absmax;
    std::memcpy(&absmax, &bits, sizeof absmax);
    request_.scale[row] = absmax;
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

  const Part& part_of(int64_t row) const {
    for (const Part& part : parts_) {
      if (row < part.first_row + part.source.rows) return part;
    }
    return parts_.back();
  }

  const octavo_load_request& request_;
  const RowFunctions& rows_;
  std::vector<Part> parts_;
  int64_t columns_, total_rows_ = 0, piece_;
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
