// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <utility>

#include "base/size.h"
#include "cli/text.h"

namespace heca::cli {
namespace {

constexpr Millis kRedraw{100};  // fast enough to look alive
constexpr Millis kLineEvery{1000};
constexpr Millis kRateAfter{200};  // before that a rate is noise
constexpr std::size_t kBarWidth = 24;

double Fraction(const control::Progress& p) {
  return p.total == 0 ? 0 : std::min(1.0, static_cast<double>(p.done) / static_cast<double>(p.total));
}

/// Bytes per second in this phase, 0 as long as it cannot be told.
double RateOf(const ProgressView& view) {
  if (view.elapsed < kRateAfter || view.progress.done <= view.from) return 0;
  return static_cast<double>(view.progress.done - view.from) /
         std::chrono::duration<double>(view.elapsed).count();
}

struct Tail {
  std::string rate;  ///< "128MiB/s"
  std::string left;  ///< "2.0s left"
};

Tail TailOf(const ProgressView& view) {
  const double rate = RateOf(view);
  if (rate <= 0) return {};
  Tail tail{FormatSize(Bytes(static_cast<std::uint64_t>(rate))) + "/s", ""};
  if (view.progress.total > view.progress.done) {
    const double seconds = static_cast<double>(view.progress.total - view.progress.done) / rate;
    const std::chrono::duration<double> span(std::min(seconds, 8640000.0));
    tail.left = FormatSpan(std::chrono::duration_cast<Nanos>(span)) + " left";
  }
  return tail;
}

std::size_t WidthOf(std::FILE* terminal) {
  winsize size{};
  if (::ioctl(::fileno(terminal), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

std::string ProgressBar(const ProgressView& view, std::size_t width) {
  const control::Progress& p = view.progress;
  std::string bar = p.phase;
  if (p.total != 0) {
    const auto filled = static_cast<std::size_t>(Fraction(p) * kBarWidth);
    bar +=
        fmt::format(" [{}{}] {:3.0f}%  {}/{}", std::string(filled, '#'), std::string(kBarWidth - filled, '-'),
                    Fraction(p) * 100, FormatSize(Bytes(p.done)), FormatSize(Bytes(p.total)));
  } else if (p.done != 0) {
    bar += fmt::format("  {}", FormatSize(Bytes(p.done)));
  }
  const Tail tail = TailOf(view);
  for (const std::string& part : {tail.rate, tail.left, p.text}) {
    if (!part.empty()) bar += "  " + part;
  }
  bar.resize(std::min(bar.size(), width == 0 ? 0 : width - 1));  // a full line would wrap
  return bar;
}

std::string ProgressLine(std::string_view verb, const ProgressView& view) {
  const control::Progress& p = view.progress;
  std::string line = fmt::format("{}: {}", verb, p.phase);
  if (p.total != 0) {
    line += fmt::format(": {} of {} ({:.0f}%)", FormatSize(Bytes(p.done)), FormatSize(Bytes(p.total)),
                        Fraction(p) * 100);
  } else if (p.done != 0) {
    line += fmt::format(": {}", FormatSize(Bytes(p.done)));
  }
  const Tail tail = TailOf(view);
  for (const std::string& part : {tail.rate, tail.left, p.text}) {
    if (!part.empty()) line += ", " + part;
  }
  return line;
}

ProgressPrinter::ProgressPrinter(std::string verb, ProgressStyle style, std::FILE* out, Stop stop)
    : verb_(std::move(verb)), style_(style), out_(out), stop_(std::move(stop)), phase_began_(Clock::now()) {}

ProgressPrinter::~ProgressPrinter() {
  if (bar_shown_) fmt::print(out_, "\r\033[K");
  std::fflush(out_);
}

void ProgressPrinter::OnProgress(const control::Progress& progress) {
  if (style_ == ProgressStyle::kNone) return;
  const Clock::time_point now = Clock::now();
  const bool new_phase = progress.phase != phase_;
  if (new_phase) {
    complete_ = false;
    phase_ = progress.phase;
    from_ = progress.done;
    phase_began_ = now;
  }
  const bool was_complete = complete_;
  complete_ = progress.total != 0 && progress.done >= progress.total;
  const Millis every = style_ == ProgressStyle::kBar ? kRedraw : kLineEvery;
  const bool worth_it = new_phase || (complete_ && !was_complete);
  if (!worth_it && printed_ && now - *printed_ < every) return;
  printed_ = now;
  const ProgressView view{progress, from_, now - phase_began_};
  if (style_ == ProgressStyle::kBar) {
    fmt::print(out_, "\r{}\033[K", ProgressBar(view, WidthOf(out_)));
    bar_shown_ = true;
  } else {
    fmt::print(out_, "{}\n", ProgressLine(verb_, view));
  }
  std::fflush(out_);
}

}  // namespace heca::cli
