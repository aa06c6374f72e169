// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/prefetch.h"

#include <algorithm>
#include <cstdlib>

#include "base/check.h"

namespace heca::fault {
namespace {
/// A fault belongs to the stream whose last fault or window end is nearest, at most so many pages away.
constexpr std::uint64_t kReach = 512;
/// Deltas that must agree before the first window, and never less than half of those remembered.
constexpr std::size_t kAgree = 2;
/// Windows from this length on get a trap in their middle.
constexpr std::uint32_t kTrapFrom = 16;
/// A stream writes if this part of the protected pages that it used was written.
constexpr std::uint32_t kWrittenShare = 4;
/// Samples in a row that tell that it has stopped.
constexpr std::uint32_t kUnwrittenSamples = 2;
/// A window is at most this part of the limit.
constexpr std::uint64_t kLimitShare = 8;

std::uint64_t Distance(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : b - a; }
}  // namespace

Prefetcher::Prefetcher(const PrefetchOptions& options) : options_(options), cap_(options.max_window) {
  HECA_CHECK(options.min_window > 0 && options.max_window >= options.min_window);
}

void Prefetcher::SetLimit(PageCount limit) {
  cap_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(options_.max_window, limit.value() / kLimitShare));
}

Prefetcher::Stream* Prefetcher::Match(std::uint64_t page) {
  Stream* best = nullptr;
  std::uint64_t best_distance = kReach + 1;
  for (Stream& stream : streams_) {
    if (!stream.live) continue;
    std::uint64_t distance = Distance(page, stream.last);
    if (stream.window > 0) distance = std::min(distance, Distance(page, stream.Expected()));
    if (distance < best_distance) {
      best = &stream;
      best_distance = distance;
    }
  }
  return best;
}

Prefetcher::Stream& Prefetcher::Replace(std::uint64_t page) {
  Stream* oldest = &streams_[0];
  for (Stream& stream : streams_) {
    if (!stream.live) {
      oldest = &stream;
      break;
    }
    if (stream.used < oldest->used) oldest = &stream;
  }
  *oldest = Stream{};
  oldest->live = true;
  oldest->last = page;
  return *oldest;
}

/// Boyer-Moore's majority among the deltas remembered; 0 if none has more than half, or too few agree.
std::int64_t Prefetcher::Majority(const Stream& stream) {
  const std::size_t known = std::min(stream.delta_count, kVotes);
  std::int64_t candidate = 0;
  std::size_t lead = 0;
  for (std::size_t i = 0; i < known; ++i) {
    if (lead == 0) candidate = stream.deltas[i];
    lead += stream.deltas[i] == candidate ? 1 : std::size_t{0} - 1;
  }
  const auto agree = static_cast<std::size_t>(
      std::count(stream.deltas.begin(), stream.deltas.begin() + static_cast<std::ptrdiff_t>(known), candidate));
  return agree >= kAgree && agree * 2 > known ? candidate : 0;
}

void Prefetcher::OnWrite(PageIndex index) {
  Stream* stream = Match(index.value());
  if (stream != nullptr && stream->window > 0) ++stream->written;
}

/// What a window that was used, up to its trap or to its end, tells about the next one.
void Prefetcher::ExpectWrites(Stream& stream) {
  const std::uint32_t used = stream.writes ? 1 : std::max(std::min(stream.trap, stream.window), 1U);
  if (stream.written * kWrittenShare >= used) {
    stream.writes = true;
    stream.unwritten = 0;
  } else if (++stream.unwritten >= kUnwrittenSamples) {
    stream.writes = false;
  }
  stream.written = 0;
}

PrefetchWindow Prefetcher::Open(Stream& stream, std::uint64_t after) {
  const std::int64_t stride = stream.stride;
  const std::uint64_t room = stride > 0 ? (options_.region_pages.value() - 1 - after) / static_cast<std::uint64_t>(stride)
                                        : after / static_cast<std::uint64_t>(-stride);
  const auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>({stream.next_window, cap_, room}));
  stream.window = count;
  if (count == 0) return {};
  PrefetchWindow window{.first = PageIndex(after + static_cast<std::uint64_t>(stride)), .count = count, .stride = stride,
                        .trap = count, .writes = stream.writes};
  if (options_.traps && count >= kTrapFrom) window.trap = count / 2;
  stream.window_first = window.first.value();
  stream.trap = window.trap;
  ++stats_.windows;
  stats_.issued += count;
  return window;
}

PrefetchWindow Prefetcher::OnFault(PageIndex index, bool coming) {
  const std::uint64_t page = index.value();
  ++stats_.faults;
  if (page >= options_.region_pages.value()) return {};
  Stream* stream = Match(page);
  if (stream == nullptr) {
    Replace(page).used = stats_.faults;
    return {};
  }
  stream->used = stats_.faults;
  PrefetchWindow window = Next(*stream, page, coming);
  window.writes = stream->writes;
  return window;
}

PrefetchWindow Prefetcher::Next(Stream& stream, std::uint64_t page, bool coming) {
  if (page == stream.last) return {};
  const std::int64_t delta = static_cast<std::int64_t>(page) - static_cast<std::int64_t>(stream.last);
  if (stream.window > 0) {
    const std::int64_t steps = (static_cast<std::int64_t>(page) - static_cast<std::int64_t>(stream.window_first)) /
                               stream.stride;
    const bool on_line = stream.At(steps) == page;
    if (on_line && steps >= 0 && steps < stream.window) {
      if (static_cast<std::uint32_t>(steps) != stream.trap) {
        if (coming) return {};
        // Never asked for (no room, no credit), or evicted before it was used.
        stream.next_window = std::max(stream.next_window / 2, options_.min_window);
        stream.last = page;
        return Open(stream, page);
      }
      // The trap: half of the window is used, the rest is there and will be; ask for what follows it.
      stats_.hits += stream.window;
      ExpectWrites(stream);
      stream.last = stream.Expected() - static_cast<std::uint64_t>(stream.stride);
      stream.next_window = std::min(stream.next_window * 2, std::max(cap_, 1U));
      return Open(stream, stream.last);
    }
    const std::int64_t past = steps - stream.window;
    if (on_line && past >= 0 && Distance(page, stream.Expected()) <= kReach) {
      // Just past the window: all of it was used. Further on: pages that are here already were passed without a fault.
      if (past <= stream.window) {
        stats_.hits += stream.window;
        ExpectWrites(stream);
        stream.next_window = std::min(stream.next_window * 2, std::max(cap_, 1U));
      }
      stream.last = page;
      return Open(stream, page);
    }
    stream.next_window = std::max(stream.next_window / 2, options_.min_window);
    stream.window = 0;
  }
  stream.deltas[stream.delta_count++ % kVotes] = delta;
  stream.last = page;
  const std::int64_t trend = Majority(stream);
  if (trend == 0 || trend != delta) return {};
  if (trend != stream.stride) stream.next_window = options_.min_window;
  stream.stride = trend;
  return Open(stream, page);
}

}  // namespace heca::fault
