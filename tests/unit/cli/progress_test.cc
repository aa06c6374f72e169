// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/progress.h"

#include <gtest/gtest.h>

#include "support/node_samples.h"

namespace heca::cli {
namespace {

using namespace heca::testing;

ProgressView Half() { return {{"write-back", 256 * kMiB, 512 * kMiB, ""}, 0, std::chrono::seconds(2)}; }

TEST(ProgressBar, ShowsRateAndTimeLeft) {
  EXPECT_EQ(ProgressBar(Half(), 120),
            "write-back [############------------]  50%  256MiB/512MiB  128MiB/s  2.0s left");
}

TEST(ProgressBar, CountsFromWhereThePhaseBegan) {
  ProgressView view = Half();
  view.from = 128 * kMiB;
  EXPECT_EQ(ProgressBar(view, 120),
            "write-back [############------------]  50%  256MiB/512MiB  64MiB/s  4.0s left");
}

TEST(ProgressBar, SaysNoRateBeforeItIsKnownAndNoTimeLeftAtTheEnd) {
  ProgressView view = Half();
  view.elapsed = Millis(100);
  EXPECT_EQ(ProgressBar(view, 120), "write-back [############------------]  50%  256MiB/512MiB");
  view = Half();
  view.progress.done = view.progress.total;
  EXPECT_EQ(ProgressBar(view, 120), "write-back [########################] 100%  512MiB/512MiB  256MiB/s");
}

TEST(ProgressBar, WithoutTotalAndOnNarrowTerminals) {
  EXPECT_EQ(ProgressBar({{"capture", 0, 0, "pid 1"}, 0, Nanos(0)}, 80), "capture  pid 1");
  EXPECT_EQ(ProgressBar(Half(), 20), "write-back [#######");
  EXPECT_EQ(ProgressBar(Half(), 0), "");
}

TEST(ProgressLine, IsPlain) {
  EXPECT_EQ(ProgressLine("limit", Half()), "limit: write-back: 256MiB of 512MiB (50%), 128MiB/s, 2.0s left");
  EXPECT_EQ(ProgressLine("attach", {{"capture", 0, 0, "pid 1"}, 0, Nanos(0)}), "attach: capture, pid 1");
}

class Stream {
 public:
  Stream() : file_(::open_memstream(&text_, &size_)) {}
  ~Stream() {
    std::fclose(file_);
    std::free(text_);
  }
  [[nodiscard]] std::FILE* file() const { return file_; }
  [[nodiscard]] std::string text() const {
    std::fflush(file_);
    return {text_, size_};
  }

 private:
  char* text_ = nullptr;
  std::size_t size_ = 0;
  std::FILE* file_;
};

std::string Printed(ProgressStyle style) {
  Stream stream;
  {
    ProgressPrinter printer("attach", style, stream.file(), [] { return false; });
    printer.OnProgress({"capture", 0, 0, ""});
    for (std::uint64_t done = 0; done <= 1000; ++done) printer.OnProgress({"write-back", done, 1000, ""});
  }
  return stream.text();
}

TEST(ProgressPrinter, PipeGetsALineAPhaseAndTheEnd) {
  const std::string text = Printed(ProgressStyle::kLines);
  EXPECT_TRUE(text.starts_with("attach: capture\nattach: write-back: 0B of 1000B (0%)\n")) << text;
  EXPECT_NE(text.find("attach: write-back: 1000B of 1000B (100%)"), std::string::npos) << text;
  EXPECT_EQ(text.find('\r'), std::string::npos);
  EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 20);  // not one line a step
}

TEST(ProgressPrinter, TheEndOfAPhaseIsSaidOnce) {
  Stream stream;
  ProgressPrinter printer("migrate", ProgressStyle::kLines, stream.file(), [] { return false; });
  for (int i = 0; i < 5; ++i) printer.OnProgress({"post-copy", 1000, 1000, ""});
  EXPECT_EQ(stream.text(), "migrate: post-copy: 1000B of 1000B (100%)\n");
}

TEST(ProgressPrinter, TerminalGetsABarThatIsClearedAtTheEnd) {
  const std::string text = Printed(ProgressStyle::kBar);
  EXPECT_TRUE(text.starts_with("\rcapture\033[K\rwrite-back [")) << text;
  EXPECT_TRUE(text.ends_with("\r\033[K")) << text;
  EXPECT_EQ(text.find('\n'), std::string::npos);
}

TEST(ProgressPrinter, SilenceWhenAsked) { EXPECT_EQ(Printed(ProgressStyle::kNone), ""); }

TEST(ProgressPrinter, CancelledIsAskedFor) {
  bool stop = false;
  ProgressPrinter printer("attach", ProgressStyle::kNone, stderr, [&] { return stop; });
  EXPECT_FALSE(printer.Cancelled());
  stop = true;
  EXPECT_TRUE(printer.Cancelled());
}

}  // namespace
}  // namespace heca::cli
