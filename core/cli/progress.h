// SPDX-License-Identifier: LGPL-2.1-or-later
// How far a long operation is: a bar that redraws itself on a terminal, a line now and then in a pipe,
// nothing with
// --json in a pipe. Writes to standard error, so that standard output holds the result alone.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>

#include "base/clock.h"
#include "control/node_api.h"

namespace heca::cli {

/// `elapsed` is the time since the phase began with `from` already done.
struct ProgressView {
  control::Progress progress;
  std::uint64_t from = 0;
  Nanos elapsed{};
};

/// "write-back [#####-----]  50%  256MiB/512MiB  128MiB/s  2.0s left", at most `width` columns. Pure.
[[nodiscard]] std::string ProgressBar(const ProgressView& view, std::size_t width);
/// "attach: write-back: 256MiB of 512MiB (50%), 128MiB/s, 2.0s left". Pure.
[[nodiscard]] std::string ProgressLine(std::string_view verb, const ProgressView& view);

enum class ProgressStyle : std::uint8_t { kNone, kBar, kLines };

/// One operation; one thread at a time.
class ProgressPrinter final : public control::ProgressSink {
 public:
  using Stop = std::function<bool()>;
  /// `stop` is asked for Cancelled. `out` outlives the printer.
  ProgressPrinter(std::string verb, ProgressStyle style, std::FILE* out, Stop stop);
  /// Clears the bar.
  ~ProgressPrinter() override;

  void OnProgress(const control::Progress& progress) override;
  [[nodiscard]] bool Cancelled() const override { return stop_(); }

 private:
  std::string verb_;
  ProgressStyle style_;
  std::FILE* out_;
  Stop stop_;
  std::string phase_;
  std::uint64_t from_ = 0;
  Clock::time_point phase_began_;
  std::optional<Clock::time_point> printed_;
  bool bar_shown_ = false;
  bool complete_ = false;  ///< the phase, as was said last
};

}  // namespace heca::cli
