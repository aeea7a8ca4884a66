// From a buffer of rows to their places in memory: what a kernel does with a tile whose elements do not lie side by side.
// It knows the vector vocabulary and the tile's strides, not what the elements are.
#pragma once

#include <cstring>

#include "kernel.hpp"

namespace fastinit {
namespace {

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
template <class Element>
void prefetch_lines(const Tile& tile) {
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
  for (std::size_t i = 0; i < sides.outer.n; ++i) {
    for (std::size_t j = 0; j < sides.inner.n; ++j) {
      std::memcpy(tile.out + std::ptrdiff_t(i) * sides.outer.in_memory + std::ptrdiff_t(j) * sides.inner.in_memory,
                  buffer + (i * sides.outer.in_buffer + j * sides.inner.in_buffer) * sizeof(Element), sizeof(Element));
    }
  }
}

// Rows that lie side by side in memory are columns there. A few columns at a time are transposed into a small buffer of
// kRun bytes each, and written from there, past the caches where they are whole cache lines.
constexpr int kVectorBytes = 4 * kLanes32;

template <class Element>
struct Columns {
  static constexpr int kRows = int(kVectorBytes / sizeof(Element));            // in a vector
  static constexpr int kColumns = sizeof(Element) == 8 ? kLanes64 : kLanes32;  // that load() makes

  static void load(const unsigned char* rows, std::size_t pitch_bytes, U32 (&columns)[kColumns]) {
    if constexpr (sizeof(Element) == 2) {
      alignas(64) unsigned char pairs[kLanes32 * kVectorBytes];
      for (int i = 0; i < kLanes32; ++i, rows += 2 * pitch_bytes) {
        store(pairs + i * kVectorBytes, load_pairs(rows, rows + pitch_bytes));
      }
      load_columns(pairs, kVectorBytes, columns);
    } else if constexpr (sizeof(Element) == 4) {
      load_columns(rows, pitch_bytes, columns);
    } else {
      load_wide_columns(rows, pitch_bytes, columns);
    }
  }
};

inline bool in_whole_lines(const Tile& tile, std::size_t element_bytes) {
  return (reinterpret_cast<std::uintptr_t>(tile.out) | std::size_t(tile.stride) | tile.rows * element_bytes) %
             kCacheLine == 0;
}

template <class Element>
void transpose(const Tile& tile, const unsigned char* buffer, std::size_t pitch, bool bypass) {
  using Some = Columns<Element>;
  constexpr std::size_t kRun = kTileAcross / sizeof(Element);
  for (std::size_t row = 0; row < tile.rows; row += kRun) {
    const std::size_t n_rows = tile.rows - row < kRun ? tile.rows - row : kRun;
    for (std::size_t column = 0; column < tile.n; column += Some::kColumns) {
      alignas(64) unsigned char runs[Some::kColumns][kTileAcross];
      for (std::size_t r = 0; r < n_rows; r += Some::kRows) {
        U32 columns[Some::kColumns];
        Some::load(buffer + ((row + r) * pitch + column) * sizeof(Element), pitch * sizeof(Element), columns);
        for (int c = 0; c < Some::kColumns; ++c) store(runs[c] + r * sizeof(Element), columns[c]);
      }
      const std::size_t here = tile.n - column < Some::kColumns ? tile.n - column : Some::kColumns;
      for (std::size_t c = 0; c < here; ++c) {
        unsigned char* out = tile.out + std::ptrdiff_t(column + c) * tile.stride + row * sizeof(Element);
        if (bypass) {
          for (std::size_t at = 0; at < n_rows * sizeof(Element); at += kVectorBytes) {
            store_bypassing(out + at, load(runs[c] + at));
          }
        } else if (n_rows == kRun) {
          std::memcpy(out, runs[c], kTileAcross);
        } else {
          std::memcpy(out, runs[c], n_rows * sizeof(Element));
        }
      }
    }
  }
}

// Fills a tile: make(first, n, out, bypass) writes elements side by side.
template <class Element, class Make>
void fill_tile(const Tile& tile, const Make& make) {
  const bool consecutive = tile.rows_are_consecutive();
  const bool direct = tile.stride == std::ptrdiff_t(sizeof(Element)) && !consecutive;
  const bool columns = !direct && tile.row_stride == std::ptrdiff_t(sizeof(Element)) && tile.rows > 1;
  const bool lines = columns && tile.bypass && in_whole_lines(tile, sizeof(Element));
  // Transposition reads whole vectors.
  alignas(64) unsigned char buffer[kTileBuffer + 64];
  const std::size_t pitch = consecutive ? tile.n : kTileAlong;
  std::size_t n;
  for (std::size_t column = 0; column < tile.n; column += n) {
    n = tile.n - column;
    // Later pieces start at a block of words.
    if (!direct && n > kTileAlong) n = kTileAlong - (tile.first + column) % 4;
    Tile part = tile;
    part.first += column;
    part.out += std::ptrdiff_t(column) * tile.stride;
    part.n = n;
    if (!direct && !lines) prefetch_lines<Element>(part);
    const std::size_t stretches = consecutive ? 1 : tile.rows;
    for (std::size_t r = 0; r < stretches; ++r) {
      make(part.first + r * tile.row_index, consecutive ? n * tile.rows : n,
           direct ? part.out + std::ptrdiff_t(r) * tile.row_stride : buffer + r * pitch * sizeof(Element),
           direct && tile.bypass);
    }
    if (columns) {
      transpose<Element>(part, buffer, pitch, lines);
    } else if (!direct) {
      scatter<Element>(part, buffer, pitch);
    }
  }
  if (lines) finish_bypassing();
}

}  // namespace
}  // namespace fastinit
