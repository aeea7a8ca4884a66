// From a buffer of rows to their places in memory: what a kernel does with a tile whose elements do not lie side by
// side, unless it makes columns.
#pragma once

#include <cstring>

#include "kernels/contract.hpp"

namespace fastinit {
namespace {

template <bool bypass, class V>
void put(void* p, V value) {
  if constexpr (bypass) {
    store_bypassing(p, value);
  } else {
    store(p, value);
  }
}

inline std::size_t size_of(std::ptrdiff_t stride) {
  return stride < 0 ? std::size_t(0) - std::size_t(stride) : std::size_t(stride);
}

struct Side {
  std::size_t n, in_buffer;  // elements, and elements from one to the next in the buffer
  std::ptrdiff_t in_memory;  // bytes from one to the next
};

// The denser side in memory is the inner one.
struct Sides {
  Side outer, inner;

  Sides(const Tile& tile, std::size_t pitch)
      : outer{tile.rows, pitch, tile.row_stride}, inner{tile.n, 1, tile.stride} {
    if (tile.n == 1 || (tile.rows > 1 && size_of(tile.row_stride) < size_of(tile.stride))) {
      const Side columns = inner;
      inner = outer, outer = columns;
    }
  }
};

// Every cache line that a tile touches, before its elements are computed: the lines travel meanwhile.
inline void prefetch_lines(const Tile& tile) {
  const Sides sides(tile, 0);
  const std::size_t distance = size_of(sides.inner.in_memory), span = (sides.inner.n - 1) * distance;
  const std::size_t step = distance < kCacheLine ? kCacheLine : distance;
  for (std::size_t i = 0; i < sides.outer.n; ++i) {
    unsigned char* line = tile.out + std::ptrdiff_t(i) * sides.outer.in_memory;
    if (sides.inner.in_memory < 0) line -= span;
    for (std::size_t at = 0; at < span; at += step) prefetch(line + at);
    prefetch(line + span);
  }
}

// One by one: any strides.
template <class Element>
void scatter(const Tile& tile, const unsigned char* buffer, std::size_t pitch) {
  const Sides sides(tile, pitch);
  const std::size_t n = sides.inner.n, from_step = sides.inner.in_buffer * sizeof(Element);
  const std::ptrdiff_t to_step = sides.inner.in_memory;
  for (std::size_t i = 0; i < sides.outer.n; ++i) {
    const unsigned char* from = buffer + i * sides.outer.in_buffer * sizeof(Element);
    unsigned char* to = tile.out + std::ptrdiff_t(i) * sides.outer.in_memory;
    for (std::size_t j = 0; j < n; ++j, from += from_step, to += to_step) std::memcpy(to, from, sizeof(Element));
  }
}

// One row whose elements lie a few elements apart, by vectors.
template <class Element>
void scatter(const Tile& tile, const unsigned char* buffer, const Spread& spread) {
  constexpr std::size_t kOfVector = kVectorBytes / sizeof(Element);
  unsigned char* to = tile.out;
  std::size_t i = 0;
  for (; i + kOfVector <= tile.n; i += kOfVector, to += std::ptrdiff_t(kOfVector) * tile.stride) {
    spread.store(to, load(buffer + i * sizeof(Element)));
  }
  for (; i < tile.n; ++i, to += tile.stride) std::memcpy(to, buffer + i * sizeof(Element), sizeof(Element));
}

// Rows that lie side by side in memory are columns there: transposes 16 bytes of kRun rows at a time.
template <class Element>
struct Columns {
  static constexpr std::size_t kRun = kTileAcross / sizeof(Element);
  static constexpr std::size_t kRows = kVectorBytes / sizeof(Element);
  static constexpr std::size_t kVectors = kTileAcross / kVectorBytes;
  static constexpr int kColumns = sizeof(Element) == 8 ? 2 : sizeof(Element) == 4 ? 4 : kLanes32;
  U32 of[kVectors][kColumns];

  Columns(const unsigned char* rows, std::size_t pitch_bytes) {
    for (auto& columns : of) {
      if constexpr (sizeof(Element) == 2) {
        unsigned char pairs[kLanes32 * kVectorBytes];
        for (int i = 0; i < kLanes32; ++i, rows += 2 * pitch_bytes) {
          store(pairs + i * kVectorBytes, load_pairs(rows, rows + pitch_bytes));
        }
        for (int c = 0; c < kLanes32; c += 4) load_columns(pairs + 4 * c, kVectorBytes, columns + c);
      } else {
        if constexpr (sizeof(Element) == 4) load_columns(rows, pitch_bytes, columns);
        if constexpr (sizeof(Element) == 8) load_wide_columns(rows, pitch_bytes, columns);
        rows += kRows * pitch_bytes;
      }
    }
  }

  template <bool bypass>
  void put_run(int column, unsigned char* out) const {
    for (std::size_t i = 0; i < kVectors; ++i) put<bypass>(out + i * kVectorBytes, of[i][column]);
  }
};

template <class Element, bool bypass>
void transpose(const Tile& tile, const unsigned char* buffer, std::size_t pitch) {
  using Some = Columns<Element>;
  for (std::size_t row = 0; row < tile.rows; row += Some::kRun) {
    const std::size_t n_rows = tile.rows - row < Some::kRun ? tile.rows - row : Some::kRun;
    unsigned char* out = tile.out + row * sizeof(Element);
    for (std::size_t column = 0; column < tile.n; column += Some::kColumns) {
      const Some columns(buffer + (row * pitch + column) * sizeof(Element), pitch * sizeof(Element));
      const int n_columns = tile.n - column < Some::kColumns ? int(tile.n - column) : Some::kColumns;
      if (n_rows == Some::kRun && n_columns == Some::kColumns) {
        for (int c = 0; c < Some::kColumns; ++c, out += tile.stride) columns.template put_run<bypass>(c, out);
      } else {
        for (int c = 0; c < n_columns; ++c, out += tile.stride) {
          unsigned char run[kTileAcross];
          columns.template put_run<false>(c, run);
          std::memcpy(out, run, n_rows * sizeof(Element));
        }
      }
    }
  }
}

// Fills a tile: make(first, n, out, bypass) writes elements side by side, make.columns(tile, bypass) whole columns of
// kTileAcross bytes, kColumns at a time (0: it cannot).
template <class Element, class Make>
void fill_tile(const Tile& tile, const Make& make) {
  constexpr auto kBytes = std::ptrdiff_t(sizeof(Element));
  const bool consecutive = tile.rows > 1 && tile.row_index == tile.n && tile.n <= kShortRow;
  const bool direct = tile.stride == kBytes && !consecutive;
  const bool columns = tile.row_stride == kBytes && tile.rows > 1;
  const bool lines = columns && tile.bypass &&
                     (reinterpret_cast<std::uintptr_t>(tile.out) | std::size_t(tile.stride)) % kCacheLine == 0;
  const bool whole = columns && !consecutive && tile.rows == kTileAcross / sizeof(Element);
  const bool spreads = tile.rows == 1 && tile.n > kTileAlong && tile.stride % kBytes == 0 && tile.stride > kBytes &&
                       tile.stride <= kSpread * kBytes;
  const Spread spread(int(kBytes), spreads ? int(tile.stride / kBytes) : 0);
  // Vectors are read from it beyond the last element.
  alignas(64) unsigned char buffer[kTileBuffer + 64];
  constexpr std::size_t kAlong = kBytes == 8 ? kTileAlong / 2 : kTileAlong;
  const std::size_t pitch = consecutive ? tile.n : kAlong;
  std::size_t n;
  for (std::size_t column = 0; column < tile.n; column += n) {
    Tile part = tile;
    part.first += column;
    part.out += std::ptrdiff_t(column) * tile.stride;
    n = tile.n - column;
    if (!direct && n > kAlong) n = kAlong - part.first % 4;  // later pieces start at a block of words
    if constexpr (Make::kColumns > 0) {
      if (whole && n >= Make::kColumns) {
        part.n = n -= n % Make::kColumns;
        if (!lines) prefetch_lines(part);
        make.columns(part, lines);
        continue;
      }
    }
    part.n = n;
    if (!direct && !lines) prefetch_lines(part);
    const std::size_t stretches = consecutive ? 1 : tile.rows;
    for (std::size_t r = 0; r < stretches; ++r) {
      make(part.first + r * tile.row_index, consecutive ? n * tile.rows : n,
           direct ? part.out + std::ptrdiff_t(r) * tile.row_stride : buffer + r * pitch * sizeof(Element),
           direct && tile.bypass);
    }
    if (direct) continue;
    if (lines) {
      transpose<Element, kBypasses>(part, buffer, pitch);
    } else if (columns) {
      transpose<Element, false>(part, buffer, pitch);
    } else if (spreads) {
      scatter<Element>(part, buffer, spread);
    } else {
      scatter<Element>(part, buffer, pitch);
    }
  }
  if (lines) finish_bypassing();
}

}  // namespace
}  // namespace fastinit
