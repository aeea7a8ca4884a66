// Walks words through the transforms of a target and compares every value with the quantile that its word stands for:
//   walk [--thin] [--target NAME] QUANTILES
// All 2^32 words of the 32-bit transforms, 10^8 of the 64-bit ones, on the fastest target: some ten minutes of CPU
// time. --thin takes one word of each 4096, and 10^5, on every target that runs here. QUANTILES is quantiles.txt, with
// which the references themselves are compared. The tables go into docs/accuracy.md, which says what they mean. A
// figure beyond its limit is a fault: the program fails.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/dispatch.hpp"
#include "engine/parameters.hpp"
#include "tests/law.hpp"
#include "tests/walk.hpp"

namespace fastinit {
extern const WalkTable kWalkPortable;
#if defined(FASTINIT_X86_64)
extern const WalkTable kWalkAvx2, kWalkAvx2Vaes, kWalkAvx512;
#elif defined(FASTINIT_AARCH64)
extern const WalkTable kWalkNeon;
#endif
}  // namespace fastinit

using namespace fastinit;

namespace {

int failures = 0;
bool hold(bool good, const std::string& what) {
  if (!good) ++failures, std::printf("FAILED: %s\n", what.c_str());
  return good;
}

Law laws[] = {
    {"normal", Distribution::kNormal, {0, 1}, Transform::kNormal, -kInfinity, kInfinity, {3.53, 2.82, 0x791336c5}},
    {"[-2, 2]", Distribution::kTruncated, {0, 1, -2, 2}, Transform::kSymmetric, -2, 2, {3.87, 3.59, 0x5a4bdd41}},
    {"[-1, 2]", Distribution::kTruncated, {0, 1, -1, 2}, Transform::kNear, -1, 2, {3.98, 2.97, 0xd402d120}},
    {"[1, 3]", Distribution::kTruncated, {0, 1, 1, 3}, Transform::kNear, 1, 3, {3.64, 3.45, 0xd627b5a0}},
    {"[5, 6]", Distribution::kTruncated, {0, 1, 5, 6}, Transform::kFar, 5, 6, {0.51, 1.71, 0x8492c06c}},
    {"uniform [-1, 1)", Distribution::kUniform, {-1, 1}, Transform::kUniform, -1, 1, {1, 1, 0}},
    {"uniform [0, 1)", Distribution::kUniform, {0, 1}, Transform::kUniform, 0, 1, {1, 1, 0}},
};

// The greater of two errors. A NaN is an infinite one.
Long greater(Long x, Long y) { return y <= x ? x : std::isnan(y) ? Long(kInfinity) : y; }

struct Worst {
  double ulp = 0;
  std::uint64_t word = 0;
  void see(double error, std::uint64_t w) {
    if (!(error <= ulp)) ulp = double(greater(ulp, error)), word = w;
  }
  void see(const Worst& other) {
    if (other.ulp > ulp || (other.ulp == ulp && other.word < word)) *this = other;
  }
};

// --- 32-bit words

constexpr std::size_t kBins = 65536;
constexpr ElementType kNarrow[] = {ElementType::kFloat32, ElementType::kFloat16, ElementType::kBfloat16};

struct Found {
  Worst worst[kKernelTypes];
  double reference = 0;            // the largest relative difference of the reference from long double's
  std::uint64_t not_mirrored = 0;  // pairs of words, in any type
  std::uint64_t n = 0;
  Long sums[4] = {};                              // of powers of float32 minus the mean
  std::vector<std::uint64_t> bins;                // float32s of each bin
  std::vector<std::uint64_t> of[kKernelTypes];   // the 16-bit values
  double least = kInfinity, greatest = -kInfinity;

  Found() : bins(kBins), of{{}, {}, std::vector<std::uint64_t>(kBins), std::vector<std::uint64_t>(kBins)} {}
  void add(const Found& other) {
    for (int t = 0; t < kKernelTypes; ++t) {
      worst[t].see(other.worst[t]);
      for (std::size_t i = 0; i < of[t].size(); ++i) of[t][i] += other.of[t][i];
    }
    reference = std::max(reference, other.reference);
    not_mirrored += other.not_mirrored, n += other.n;
    for (int r = 0; r < 4; ++r) sums[r] += other.sums[r];
    for (std::size_t i = 0; i < kBins; ++i) bins[i] += other.bins[i];
    least = std::min(least, other.least), greatest = std::max(greatest, other.greatest);
  }
};

class Walker32 {
  const WalkTable& table_;
  const Law& law_;
  const double mean_;
  const std::vector<double>& edges_;  // of the bins: kBins + 1
  Plan plans_[kKernelTypes];
  std::vector<float> values16_[kKernelTypes];
  struct Chunk {
    alignas(64) std::uint32_t words[kWalkChunk];
    alignas(64) float values[kWalkChunk];
    alignas(64) std::uint16_t values16[2][kWalkChunk];  // float16, bfloat16
  } one_, other_;
  alignas(64) double f_[kWalkChunk], h_[kWalkChunk], x_[kWalkChunk], error_[kWalkChunk];

  // The true values, in float64.
  void refer(const Chunk& chunk) {
    if (law_.transform == Transform::kFar) {
      for (std::size_t i = 0; i < kWalkChunk; ++i) {
        const double y = chunk.values[i];
        x_[i] = y - error_of(law_, y, law_.place(chunk.words[i]));
      }
    } else if (law_.uniform()) {
      for (std::size_t i = 0; i < kWalkChunk; ++i) x_[i] = double(law_.place(chunk.words[i]).h);
    } else {
      for (std::size_t i = 0; i < kWalkChunk; ++i) {
        const Place at = law_.place(chunk.words[i]);
        f_[i] = std::min(double(at.p * 0x1p64L), 0x1.fffffffffffffp62);  // the table's last
        h_[i] = double(at.negative ? -at.h : at.h);
      }
      table_.ratios(f_, x_);
      for (std::size_t i = 0; i < kWalkChunk; ++i) x_[i] *= h_[i];
    }
    for (std::size_t i = 0; i < kWalkChunk; i += 64) {
      const Place at = law_.place(chunk.words[i]);
      const Long error = error_of(law_, Long(x_[i]), at);
      if (error == 0) continue;  // also where the value is 0
      const Long unit = std::max(std::fabs(Long(x_[i])), law_.straddles() ? 0x1p-29L : 0.0L);
      found.reference = double(greater(found.reference, std::fabs(error / unit)));
    }
  }

  template <class Value>
  void compare(ElementType type, const Chunk& chunk, const Value& value) {
    const Format& format = kFormats[int(type)];
    const int last = format.precision - 1;
    // 1 / ulp(x), from the bits of x
    const double most = std::ldexp(1.0, -std::max(format.least - last, law_.least_exponent(type)));
    for (std::size_t i = 0; i < kWalkChunk; ++i) {
      const std::uint64_t exponent = std::bit_cast<std::uint64_t>(x_[i]) & 0x7FF0000000000000;
      const double per_ulp = std::bit_cast<double>((std::uint64_t(2046 + last) << 52) - exponent);
      error_[i] = std::fabs(value(i) - x_[i]) * (per_ulp < most ? per_ulp : most);
    }
    for (std::size_t i = 0; i < kWalkChunk; ++i) found.worst[int(type)].see(error_[i], chunk.words[i]);
  }

  void count(const Chunk& chunk) {
    found.n += kWalkChunk;
    constexpr std::size_t kLanes = 8;
    double sums[4][kLanes] = {};
    for (std::size_t i = 0; i < kWalkChunk; i += kLanes) {
      for (std::size_t j = 0; j < kLanes; ++j) {
        const double z = double(chunk.values[i + j]) - mean_, z2 = z * z;
        sums[0][j] += z, sums[1][j] += z2, sums[2][j] += z2 * z, sums[3][j] += z2 * z2;
      }
    }
    for (int r = 0; r < 4; ++r) {
      for (const double sum : sums[r]) found.sums[r] += sum;
    }
    for (std::size_t i = 0; i < kWalkChunk; ++i) {
      const double v = chunk.values[i];
      std::size_t bin = law_.rank(chunk.words[i]) >> 16;
      if (!std::isfinite(v)) continue;  // an infinite error, and one word too few
      while (v < edges_[bin]) --bin;
      while (v >= edges_[bin + 1]) ++bin;
      ++found.bins[bin];
      ++found.of[int(ElementType::kFloat16)][chunk.values16[0][i]];
      ++found.of[int(ElementType::kBfloat16)][chunk.values16[1][i]];
    }
  }

  void make(Chunk& chunk, bool counted) {
    for (const ElementType type : kNarrow) {
      void* out = type == ElementType::kFloat32 ? static_cast<void*>(chunk.values)
                                                : chunk.values16[type == ElementType::kBfloat16];
      const Plan& plan = plans_[int(type)];
      table_.values[int(plan.transform)][int(type)](plan.parameters, chunk.words, out);
    }
    refer(chunk);
    compare(ElementType::kFloat32, chunk, [&](std::size_t i) { return double(chunk.values[i]); });
    for (const ElementType type : {ElementType::kFloat16, ElementType::kBfloat16}) {
      const float* values = values16_[int(type)].data();
      const std::uint16_t* bits = chunk.values16[type == ElementType::kBfloat16];
      compare(type, chunk, [=](std::size_t i) { return double(values[bits[i]]); });
    }
    for (const float v : chunk.values) {
      found.least = std::min<double>(found.least, v), found.greatest = std::max<double>(found.greatest, v);
    }
    if (counted) count(chunk);
  }

  // The uniform's greatest values are kept below the open end, its least ones meet the closed end.
  bool kept(const Chunk& chunk, std::size_t i) const {
    return law_.uniform() && std::fabs(chunk.values[i]) >= std::nextafter(1.0f, 0.0f);
  }
  bool kept16(const Chunk& chunk, std::size_t i, int t) const {
    const ElementType type = t == 0 ? ElementType::kFloat16 : ElementType::kBfloat16;
    const double end = 1 - std::ldexp(1.0, -kFormats[int(type)].precision);
    return law_.uniform() && std::fabs(values16_[int(type)][chunk.values16[t][i]]) >= end;
  }

 public:
  Found found;

  Walker32(const WalkTable& table, const Law& law, double mean, const std::vector<double>& edges)
      : table_(table), law_(law), mean_(mean), edges_(edges) {
    for (const ElementType type : kNarrow) {
      plans_[int(type)] = make_plan(law.distribution, type, law.arguments);
      if (!law.is(plans_[int(type)].transform)) std::abort();
      if (type == ElementType::kFloat32) continue;
      for (std::size_t i = 0; i < kBins; ++i) {
        values16_[int(type)].push_back(float(value_of(std::uint16_t(i), type)));
      }
    }
  }

  // Words of the lower half, and their mirror images.
  template <class Word>
  void walk(const Word& word, bool counted) {
    for (std::size_t i = 0; i < kWalkChunk; ++i) {
      one_.words[i] = word(i);
      other_.words[i] = law_.mirror(one_.words[i]);
    }
    make(one_, counted);
    make(other_, counted);
    if (!law_.mirrored()) return;
    std::uint64_t wrong = 0;
    for (std::size_t i = 0; i < kWalkChunk; ++i) {
      if (!law_.has_mirror(one_.words[i])) continue;
      bool same = one_.values[i] == -other_.values[i] || (kept(one_, i) && kept(other_, i));
      for (int t = 0; t < 2; ++t) {
        same = same && ((one_.values16[t][i] ^ other_.values16[t][i]) == 0x8000 ||
                        (kept16(one_, i, t) && kept16(other_, i, t)));
      }
      wrong += !same;
    }
    found.not_mirrored += wrong;
  }
};

template <class Work>
void on_all_threads(const Work& work) {
  std::vector<std::thread> threads;
  for (unsigned k = 0; k < std::max(1u, std::thread::hardware_concurrency()); ++k) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
}

Found walk32(const WalkTable& table, const Law& law, double mean, const std::vector<double>& edges, int thin) {
  Found all;
  std::mutex mutex;
  std::atomic<std::uint64_t> next{0};
  const std::uint64_t end = (std::uint64_t(1) << (31 - thin)) / kWalkChunk;
  on_all_threads([&] {
    auto walker = std::make_unique<Walker32>(table, law, mean, edges);
    for (std::uint64_t chunk; (chunk = next++) < end;) {
      // One word of each 2^thin, at a place within them that varies.
      walker->walk(
          [&](std::size_t i) {
            const auto number = std::uint32_t(chunk * kWalkChunk + i);
            return thin == 0 ? number : number << thin | (number * 0x9E3779B9) >> (32 - thin);
          },
          true);
    }
    const std::lock_guard lock(mutex);
    all.add(walker->found);
  });
  if (thin > 0) {  // the ends of both halves, and about the farthest word
    auto walker = std::make_unique<Walker32>(table, law, mean, edges);
    const std::uint32_t half = 0x80000000, known = law.limits.farthest;
    const std::uint32_t farthest = known < half ? known : law.mirror(known);
    for (const std::uint32_t from : {std::uint32_t(0), half - std::uint32_t(kWalkChunk), farthest - farthest % 4096}) {
      walker->walk([&](std::size_t i) { return from + std::uint32_t(i); }, false);
    }
    all.add(walker->found);
  }
  return all;
}

// --- moments

// How far the moments of the words' values may be from the law's, z being values minus the mean. They are sums over
// places of probability that are 1 / N apart, one for each word (the uniform's are 2 / N apart, for two words each),
// which miss the integral of |z|^r by at most its variation over N: twice the greatest |z|^r on either side (the
// normal's tails beyond the last places are less). And each value is within e = limit x ulp of its true one,
// ulp <= 2^(1 - precision) |x|, which moves a moment by r E |z|^(r-1) e.
FourMoments tolerance(const FourMoments& m, const Format& format, double ulps, double reach, Long n) {
  const Long relative = ulps * std::ldexp(1.0L, 1 - format.precision);
  const Long m2 = m.variance, m4 = m.kurtosis * m2 * m2, size = std::sqrt(m2 + m.mean * m.mean);  // E |x| <= size
  // E |z|^(r-1) |x| <= E |z|^r + |mean| E |z|^(r-1)
  const Long z1 = std::sqrt(m2), z3 = std::sqrt(m2 * m4), mean = std::fabs(m.mean);
  const auto cells = [&](int r) { return 4 * std::pow(Long(reach), Long(r)) / n; };
  const Long d1 = relative * size + cells(1), d2 = 2 * relative * (m2 + mean * z1) + cells(2) + d1 * d1;
  const Long d3 = 3 * relative * (z3 + mean * m2) + cells(3) + 3 * d1 * (m2 + d2);
  const Long d4 = 4 * relative * (m4 + mean * z3) + cells(4) + 4 * d1 * (z3 + d3) + 6 * d1 * d1 * (m2 + d2);
  // 2: the quotient's terms of second order
  return {d1, d2, 2 * (d3 / (m2 * z1) + 1.5L * std::fabs(m.skewness) * d2 / m2),
          2 * (d4 / (m2 * m2) + 2 * m.kurtosis * d2 / m2)};
}

// --- tables

void heading(const char* text) { std::printf("\n%s\n\n", text); }
void row_of_dashes(int n) {
  for (int i = 0; i < n; ++i) std::printf("|---");
  std::printf("|\n");
}

// Of n words those whose values may have crossed x: true values within `limit` ulp of it. Crossings in the one and in
// the other direction make up for each other.
double strays(const Law& law, double x, double n) {
  const int unit = unit_exponent(law, ElementType::kFloat32, x * (1 + 0x1p-20));
  return law.limits.float32 * double(law.density_at(Long(x))) * std::ldexp(n, unit) + 1;
}

// Largest difference of the numbers of words that 16-bit values have from their probabilities.
void check_values16(const Law& law, const Found& found, ElementType type, std::string& line) {
  const auto& counts = found.of[int(type)];
  std::vector<double> values;
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBins; ++i) {
    const double v = value_of(std::uint16_t(i), type);
    if (std::isfinite(v) && !(v == 0 && std::signbit(v))) values.push_back(v);
  }
  std::sort(values.begin(), values.end());
  const auto bits_of = [&](double v) -> std::size_t {
    if (type == ElementType::kBfloat16) return std::bit_cast<std::uint32_t>(float(v)) >> 16;
    std::size_t low = 0, high = 0x7C00;  // magnitudes grow with their bits
    while (high - low > 1) {
      const std::size_t middle = (low + high) / 2;
      (value_of(std::uint16_t(middle), type) <= std::fabs(v) ? low : high) = middle;
    }
    return low | (v < 0 ? 0x8000 : 0);
  };
  double most = 0, least = kInfinity, greatest = -kInfinity;
  bool good = true;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double v = values[i];
    std::uint64_t count = counts[bits_of(v)] + (v == 0 ? counts[0x8000] : 0);
    seen += count;
    if (count > 0) least = std::min(least, v), greatest = std::max(greatest, v);
    if (!law.inside(v)) {
      good = good && count == 0;
      continue;
    }
    // What rounds to v: up to the middles, or all the rest at an end of the window.
    const bool first = i == 0 || !law.inside(values[i - 1]);
    const bool last = i + 1 == values.size() || !law.inside(values[i + 1]);
    const double low = first ? law.a : values[i - 1] / 2 + v / 2, high = last ? law.b : v / 2 + values[i + 1] / 2;
    const Long share = law.between(Long(low), Long(high));
    const double difference = std::fabs(double(Long(count) - share * Long(found.n)));
    most = std::max(most, difference);
    double allowed = 0;
    for (const double edge : {low, high}) {
      if (std::isfinite(edge) && edge != law.a && edge != law.b) {
        allowed += strays(law, edge, double(found.n));
      }
    }
    good = good && difference <= allowed + 1;  // shares are no whole numbers
  }
  hold(seen == found.n, std::string(law.name) + ": a 16-bit value that is not finite");
  hold(good, std::string(law.name) + " " + kFormats[int(type)].name + ": numbers of words of a value");
  char text[160];
  std::snprintf(text, sizeof(text), " %.0f | %.9g .. %.9g |", most, least, greatest);
  line += text;
}

void check_moments(const Law& law, const Found& found, ElementType type, const FourMoments& true_moments, double ulps,
                   std::string& lines) {
  Long sums[4] = {};
  if (type == ElementType::kFloat32) {
    std::copy(found.sums, found.sums + 4, sums);
  } else {
    for (std::size_t i = 0; i < kBins; ++i) {
      const Long n = Long(found.of[int(type)][i]);
      if (n == 0) continue;
      const Long z = value_of(std::uint16_t(i), type) - Long(double(true_moments.mean));
      sums[0] += n * z, sums[1] += n * z * z, sums[2] += n * z * z * z, sums[3] += n * z * z * z * z;
    }
  }
  const Long n = Long(found.n);
  const FourMoments got =
      from_central(Long(double(true_moments.mean)), sums[0] / n, sums[1] / n, sums[2] / n, sums[3] / n);
  const double reach = std::max(std::fabs(found.least - double(true_moments.mean)),
                                std::fabs(found.greatest - double(true_moments.mean)));
  const FourMoments may = tolerance(true_moments, kFormats[int(type)], ulps, reach, n);
  const Long off[4] = {got.mean - true_moments.mean, got.variance - true_moments.variance,
                       got.skewness - true_moments.skewness, got.kurtosis - true_moments.kurtosis};
  const Long allowed[4] = {may.mean, may.variance, may.skewness, may.kurtosis};
  const Long truth[4] = {true_moments.mean, true_moments.variance, true_moments.skewness, true_moments.kurtosis};
  char text[160];
  std::snprintf(text, sizeof(text), "| %s | %s |", law.name, kFormats[int(type)].name);
  lines += text;
  for (int r = 0; r < 4; ++r) {
    std::snprintf(text, sizeof(text), " %.6Lf %+.1Le (%.0Le) |", truth[r] + 0.0L, off[r] + 0.0L, allowed[r]);
    lines += text;
    hold(std::fabs(off[r]) <= allowed[r], std::string(law.name) + " " + kFormats[int(type)].name + ": moment " +
                                              std::to_string(r + 1));
  }
  lines += "\n";
}

std::vector<double> edges_of(const WalkTable& table, const Law& law) {
  // The float64 values there, made exact. In a symmetric law the edge is a word's own place, and that word belongs to
  // the bin that is nearer to the median. Otherwise the edge lies between two words.
  std::vector<double> edges = {-kInfinity};
  const Plan plan = make_plan(law.distribution, ElementType::kFloat64, law.arguments);
  std::vector<std::uint64_t> words(kWalkChunk);
  std::vector<double> values(kWalkChunk);
  bool good = true;
  for (std::size_t from = 0; from < kBins; from += kWalkChunk) {
    for (std::size_t i = 0; i < kWalkChunk; ++i) {
      words[i] = std::uint64_t(law.word_of_rank(std::uint32_t((from + i) << 16))) << 32;
      if (law.symmetric() && from + i >= kBins / 2) words[i] |= 0xFFFFFFFF;  // just below the next word's place
    }
    table.values[int(plan.transform)][int(ElementType::kFloat64)](plan.parameters, words.data(), values.data());
    for (std::size_t i = from == 0; i < kWalkChunk; ++i) {
      const Place at = law.place(words[i]);
      const Long error = error_of(law, Long(values[i]), at);
      good = good && std::fabs(error) < 1e-12L;
      edges.push_back(double(values[i] - error));
    }
  }
  edges.push_back(kInfinity);
  hold(good, std::string(law.name) + ": the edges of the bins");
  return edges;
}

// --- 64-bit words

struct Found64 {
  Worst worst;
  std::uint64_t n = 0, not_mirrored = 0;
  double least = kInfinity, greatest = -kInfinity;
};

// Places that matter: the ends, powers of two and their neighbours, counted from either end, from the middle and from
// the median, and where two pieces of the tables meet; all of these with words beside them, and some in each piece.
std::vector<std::uint64_t> special_words(const Law& law) {
  std::vector<std::uint64_t> words;
  const auto about = [&](std::uint64_t w, int far) {
    for (int d = -far; d <= far; ++d) words.push_back(w + std::uint64_t(std::int64_t(d)));
  };
  const std::uint64_t top = std::uint64_t(1) << 63;
  std::vector<std::uint64_t> from = {0, top};
  if (law.straddles()) from.push_back(law.word_near(0.5L));
  for (const std::uint64_t base : from) {
    for (int j = 0; j < 64; ++j) {
      about(base + (std::uint64_t(1) << j), 2);
      about(base - (std::uint64_t(1) << j), 2);
    }
    about(base, 64);
  }
  if (law.uniform()) return words;
  const auto edge = [&](Long p, Long next) {
    if (p > 0 && p < 1) about(law.word_near(p), 16);
    for (int i = 0; i < 1024; ++i) words.push_back(law.word_near(p + (next - p) * i / 1024));
  };
  if (law.transform == Transform::kFar) {
    for (int e = 3; e < 8; ++e) {
      for (const Long m : {1.0L, 1.5L}) {
        const Long level = std::ldexp(m, e), next = std::ldexp(m == 1 ? 1.5L : 2.0L, e);
        if (std::exp(-next) < law.q_a && std::exp(-level) > law.q_b) edge(std::exp(-level), std::exp(-next));
      }
    }
    return words;
  }
  for (int e = -65; e < -1; ++e) {
    for (const Long m : {1.0L, 1.5L}) {
      const Long p = std::ldexp(m, e), next = std::ldexp(m == 1 ? 1.5L : 2.0L, e);
      if (next > law.q_b && (law.a < 0 || p < law.q_a)) edge(p, next);
      if (law.straddles() && next > upper_tail(-Long(law.a))) edge(1 - p, 1 - next);
    }
  }
  return words;
}

void walk64(const WalkTable& table, const Law& law, std::uint64_t n, Found64& all) {
  const Plan plan = make_plan(law.distribution, ElementType::kFloat64, law.arguments);
  if (!law.is(plan.transform)) std::abort();
  const std::vector<std::uint64_t> special = special_words(law);
  std::mutex mutex;
  std::atomic<std::uint64_t> next{0};
  const std::uint64_t end = (special.size() + n / 2) / kWalkChunk + 1;
  on_all_threads([&] {
    std::vector<std::uint64_t> words[2];
    std::vector<double> values[2];
    for (int side = 0; side < 2; ++side) words[side].resize(kWalkChunk), values[side].resize(kWalkChunk);
    Found64 mine;
    for (std::uint64_t chunk; (chunk = next++) < end;) {
      for (std::size_t i = 0; i < kWalkChunk; ++i) {
        // Beside the special ones a sequence that covers evenly: multiples of the golden ratio.
        const std::uint64_t k = chunk * kWalkChunk + i;
        words[0][i] = k < special.size() ? special[k] : (k - special.size()) * 0x9E3779B97F4A7C15;
        words[1][i] = law.mirror(words[0][i]);
      }
      for (int side = 0; side < 2; ++side) {
        table.values[int(plan.transform)][int(ElementType::kFloat64)](plan.parameters, words[side].data(),
                                                                      values[side].data());
        for (std::size_t i = 0; i < kWalkChunk; ++i) {
          const double y = values[side][i];
          mine.least = std::min(mine.least, y), mine.greatest = std::max(mine.greatest, y);
          const Long error = error_of(law, Long(y), law.place(words[side][i]));
          const int unit = unit_exponent(law, ElementType::kFloat64, double(y - error));
          mine.worst.see(double(std::ldexp(std::fabs(error), -unit)), words[side][i]);
        }
      }
      mine.n += 2 * kWalkChunk;
      for (std::size_t i = 0; i < kWalkChunk && law.mirrored(); ++i) {
        const double one = values[0][i], other = values[1][i];
        const bool ends = law.uniform() && std::min(std::fabs(one), std::fabs(other)) >= 1 - 0x1p-53;  // as in kept()
        mine.not_mirrored += law.has_mirror(words[0][i]) && one != -other && !ends;
      }
    }
    const std::lock_guard lock(mutex);
    all.worst.see(mine.worst);
    all.n += mine.n, all.not_mirrored += mine.not_mirrored;
    all.least = std::min(all.least, mine.least), all.greatest = std::max(all.greatest, mine.greatest);
  });
}

// --- the references themselves, against mpmath

void check_references(const WalkTable& table, const char* path) {
  std::ifstream file(path);
  std::vector<double> f(kWalkChunk, 1.0), ratio(kWalkChunk);
  std::vector<std::uint64_t> numbers;
  std::vector<Long> exact;
  std::string n, high, low;
  while (file >> n >> high >> low) {
    numbers.push_back(std::strtoull(n.c_str(), nullptr, 16));
    exact.push_back(Long(std::strtod(high.c_str(), nullptr)) + std::strtod(low.c_str(), nullptr));
    f[numbers.size() - 1] = std::min(double(numbers.back()) / 2, 0x1.fffffffffffffp62);
  }
  if (!hold(numbers.size() > 300 && numbers.size() < kWalkChunk, std::string("quantiles in ") + path)) return;
  table.ratios(f.data(), ratio.data());
  Long worst = 0, worst_long = 0;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const Place at{Long(numbers[i]) * 0x1p-65L, Long(0 - numbers[i]) * 0x1p-65L, false};
    worst = greater(worst, std::fabs(ratio[i] * double(at.h) / exact[i] - 1));
    const double nearly = double(exact[i]) * (1 + 0x1p-50);
    const Long refined = nearly - error_of(laws[0], Long(nearly), at);
    worst_long = greater(worst_long, std::fabs(refined / exact[i] - 1));
  }
  std::printf("%zu quantiles of mpmath: the float64 reference is within 2^%.1Lf of them, long double within 2^%.1Lf\n",
              numbers.size(), std::log2(worst), std::log2(worst_long));
  hold(worst <= 0x1p-51L, "the float64 reference");
  hold(worst_long <= 0x1p-60L, "the long double reference");
}

const WalkTable& table_of([[maybe_unused]] const std::string& target) {
#if defined(FASTINIT_X86_64)
  if (target == "avx512") return kWalkAvx512;
  if (target == "avx2_vaes") return kWalkAvx2Vaes;
  if (target == "avx2") return kWalkAvx2;
#elif defined(FASTINIT_AARCH64)
  if (target == "neon") return kWalkNeon;
#endif
  return kWalkPortable;
}

void walk_all(const WalkTable& table, int thin) {
  std::string moments, bins;
  heading("Largest errors, in ulp of the true value");
  std::printf("| law | float32 | at word | float16 | bfloat16 | not mirrored | reference "
              "| float64 | at word | words | not mirrored |\n");
  row_of_dashes(11);
  for (Law& law : laws) {
    law.measure();
    const FourMoments truth = analytical(law);
    const std::vector<double> edges = edges_of(table, law);
    const Found found = walk32(table, law, double(truth.mean), edges, thin);
    Found64 wide;
    walk64(table, law, thin ? 100000 : 100000000, wide);

    const Worst* worst = found.worst;
    char line[256];
    std::snprintf(line, sizeof(line), "%.4f | 0x%08x | %.5f | %.5f | ", worst[0].ulp, unsigned(worst[0].word),
                  worst[2].ulp, worst[3].ulp);
    std::printf("| %s | %s", law.name, line);
    std::printf(law.mirrored() ? "%.0f" : "-", double(found.not_mirrored));
    std::printf(found.reference > 0 ? " | 2^%.1f" : " | exact", std::log2(found.reference));
    std::printf(" | %.3f | 0x%016llx | %llu | ", wide.worst.ulp, (unsigned long long)wide.worst.word,
                (unsigned long long)wide.n);
    std::printf(law.mirrored() ? "%.0f |\n" : "- |\n", double(wide.not_mirrored));
    std::fflush(stdout);

    const std::string name = law.name;
    hold(found.n == std::uint64_t(1) << (32 - thin), name + ": the number of words");
    hold(found.not_mirrored == 0 && wide.not_mirrored == 0, name + ": mirrored words");
    hold(found.reference <= 0x1p-50, name + ": the float64 reference");
    hold(worst[0].ulp <= law.limits.float32, name + ": float32");
    hold(wide.worst.ulp <= law.limits.float64, name + ": float64");
    hold(law.inside(found.least) && law.inside(found.greatest), name + ": float32 beyond the bounds");
    hold(law.inside(wide.least) && law.inside(wide.greatest), name + ": float64 beyond the bounds");
    check_moments(law, found, ElementType::kFloat32, truth, law.limits.float32, moments);
    const auto [low, high] = std::minmax_element(found.bins.begin(), found.bins.end());
    std::snprintf(line, sizeof(line), "| %s | %llu .. %llu | %.9g .. %.9g |", law.name, (unsigned long long)*low,
                  (unsigned long long)*high, found.least, found.greatest);
    bins += line;
    bool good = true;
    for (std::size_t i = 0; i < kBins; ++i) {
      double allowed = 0;
      for (const double edge : {edges[i], edges[i + 1]}) {
        if (std::isfinite(edge)) allowed += strays(law, edge, double(found.n));
      }
      good = good && std::fabs(double(found.bins[i]) - double(found.n) / kBins) <= allowed;
    }
    hold(good, name + ": words of a bin");
    for (const ElementType type : {ElementType::kFloat16, ElementType::kBfloat16}) {
      // Rounded once more: half an ulp, and the float32's error in the larger ulp. At the uniform's open end up to one.
      const double rounded = 0.5 + std::ldexp(law.limits.float32, kFormats[int(type)].precision - 24);
      const double limit = law.uniform() ? 1 : rounded;
      hold(worst[int(type)].ulp <= limit, name + ": " + kFormats[int(type)].name);
      check_moments(law, found, type, truth, limit, moments);
      check_values16(law, found, type, bins);
    }
    std::snprintf(line, sizeof(line), " %.17g .. %.17g |\n", wide.least, wide.greatest);
    bins += line;
  }
  heading("Moments of all values: the law's, the difference, in brackets what is allowed");
  std::printf("| law | type | mean | variance | skewness | kurtosis |\n");
  row_of_dashes(6);
  std::fputs(moments.c_str(), stdout);
  heading("Words of each of 2^16 equally likely bins and of each 16-bit value; least and greatest values");
  std::printf("| law | float32: words of a bin | values | float16: words off | values | bfloat16: words off | values | "
              "float64 values met |\n");
  row_of_dashes(8);
  std::fputs(bins.c_str(), stdout);
}

}  // namespace

int main(int argc, char** argv) {
  int thin = 0;
  std::vector<std::string> targets = targets_found();  // the fastest first
  const char* quantiles = nullptr;
  bool understood = true;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--thin") == 0) {
      thin = 12;
    } else if (std::strcmp(argv[i], "--target") == 0 && i + 1 < argc) {
      const std::string name = argv[++i];
      understood = understood && std::find(targets.begin(), targets.end(), name) != targets.end();
      targets = {name};
    } else if (argv[i][0] != '-' && quantiles == nullptr) {
      quantiles = argv[i];
    } else {
      understood = false;
    }
  }
  if (!understood || quantiles == nullptr) {
    std::fputs("usage: walk [--thin] [--target NAME] QUANTILES, where NAME is a target that runs here\n", stderr);
    return 2;
  }
  if (!thin) targets.resize(1);
  for (const std::string& target : targets) {
    std::printf("target %s, %s\n", target.c_str(), thin ? "one word of each 4096" : "all 2^32 words");
    check_references(table_of(target), quantiles);
    walk_all(table_of(target), thin);
  }
  std::printf("\n%s\n", failures == 0 ? "All within their limits." : "FAILED");
  return failures > 0;
}
