// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/loop_watch.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <optional>

namespace heca::fault {
namespace {

constexpr Millis kTick{20};

class LoopWatchTest : public testing::Test {
 protected:
  void SetUp() override {
    auto watch = LoopWatch::Create(faults_.fd(), wake_.fd(), -1);
    ASSERT_TRUE(watch.ok());
    watch_.emplace(std::move(*watch));
  }
  LoopWatch::Sources Wait(const PollNeed& urgent, const PollNeed& bulk, Nanos spin = Nanos(0)) {
    return watch_->Wait({.urgent = urgent, .bulk = bulk, .tick = kTick, .spin = spin, .answer = true});
  }
  static PollNeed In(const WakeFd& fd, std::uint32_t file = 0) { return {fd.fd(), EPOLLIN, -1, file}; }

  WakeFd faults_, wake_, urgent_, bulk_;
  std::optional<LoopWatch> watch_;
};

TEST_F(LoopWatchTest, NamesWhatIsReady) {
  EXPECT_EQ(Wait(In(urgent_), In(bulk_)), 0U);  // a tick
  faults_.Signal();
  EXPECT_EQ(Wait(In(urgent_), In(bulk_)), LoopWatch::kFaults);
  faults_.Clear();
  bulk_.Signal();
  wake_.Signal();
  EXPECT_EQ(Wait(In(urgent_), In(bulk_)), LoopWatch::kBulk | LoopWatch::kWake);
  EXPECT_EQ(Wait(In(urgent_), In(bulk_), std::chrono::milliseconds(1)), LoopWatch::kBulk | LoopWatch::kWake);
}

TEST_F(LoopWatchTest, FollowsAReaderToAnotherDescriptor) {
  EXPECT_EQ(Wait(In(urgent_), In(bulk_)), 0U);
  WakeFd other;
  other.Signal();
  EXPECT_EQ(Wait(In(other, 1), In(bulk_)), LoopWatch::kUrgent);
  urgent_.Signal();  // the one before does not count any more
  other.Clear();
  EXPECT_EQ(Wait(In(other, 1), In(bulk_)), 0U);
  EXPECT_EQ(Wait({}, In(bulk_)), 0U);  // no descriptor at all
}

TEST_F(LoopWatchTest, TellsAClosedDescriptorFromItsSuccessorOfTheSameNumber) {
  const int number = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  EXPECT_EQ(Wait({number, EPOLLIN, -1, 1}, In(bulk_)), 0U);
  ::close(number);
  ASSERT_EQ(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK), number);
  EXPECT_EQ(Wait({number, EPOLLIN, -1, 2}, In(bulk_)), LoopWatch::kUrgent);
  // ... and a successor that the other reader has got.
  EXPECT_EQ(Wait(In(urgent_, 3), {number, EPOLLIN, -1, 9}), LoopWatch::kBulk);
  ::close(number);
}

TEST_F(LoopWatchTest, AsksForOtherEventsOfTheSameDescriptor) {
  EXPECT_EQ(Wait(In(urgent_), In(bulk_)), 0U);
  EXPECT_EQ(Wait({urgent_.fd(), EPOLLIN | EPOLLOUT, -1, 0}, In(bulk_)), LoopWatch::kUrgent);
  EXPECT_EQ(Wait(In(urgent_), In(bulk_)), 0U);
}

TEST_F(LoopWatchTest, SpinningInVainStops) {
  // Each wait spins for 5 ms, until it has learnt; then only the tick is left.
  const auto spin = std::chrono::milliseconds(5);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Wait(In(urgent_), In(bulk_), spin), 0U);
  std::uint64_t used = 0;
  timespec before{}, after{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Wait(In(urgent_), In(bulk_), spin), 0U);
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
  used = static_cast<std::uint64_t>((after.tv_sec - before.tv_sec) * 1'000'000'000 + after.tv_nsec - before.tv_nsec);
  EXPECT_LT(used, 10'000'000U) << "ns of CPU for ten waits; spinning would be 50 ms";
}

}  // namespace
}  // namespace heca::fault
