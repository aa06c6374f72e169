// SPDX-License-Identifier: LGPL-2.1-or-later
// An engine process is killed at every crash point; the next one takes over. The guest's private counters tell whether
// a page was lost, zeroed or turned back.
#include <gtest/gtest.h>

#include "support/forked_guest.h"

namespace heca::fault {
namespace {

using test::ForkedGuest;
using test::WaitUntil;

class KilledAt : public testing::TestWithParam<FailPoint> {};

TEST_P(KilledAt, NothingIsLost) {
  ForkedGuest guest({});
  const std::string point(ToString(GetParam()));
  int crashes = 0;
  for (const char* pass : {"1", "40", "333"}) {
    ASSERT_TRUE(guest.StartEngine(point + "=crash@" + pass)) << pass;
    crashes += guest.AwaitCrash(std::chrono::seconds(120)) ? 1 : 0;  // on an emulated CPU of a busy machine too
  }
  EXPECT_EQ(crashes, 3) << "the fail point was not passed";
  ASSERT_TRUE(guest.StartEngine(""));
  const std::uint64_t visits = guest.control().visits.load();
  EXPECT_TRUE(WaitUntil([&] { return guest.control().visits.load() > visits + 1000; })) << "the guest does not go on";
  ASSERT_TRUE(guest.ComeHome());
  ASSERT_TRUE(guest.EndGuest());
  EXPECT_EQ(guest.control().wrong.load(), 0U);
  EXPECT_EQ(guest.arena().CountPresent(), 0U) << "slots left at the store";
  EXPECT_EQ(guest.arena().switches().violations.load(), 0U);
  EXPECT_EQ(guest.arena().switches().lost_reads.load(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Points, KilledAt,
                         testing::Values(FailPoint::kCrashAfterArm, FailPoint::kCrashBeforePunch,
                                         FailPoint::kCrashAfterPunch, FailPoint::kCrashBeforeCopy,
                                         FailPoint::kCrashAfterCopy, FailPoint::kCrashAfterFaultRead),
                         [](const auto& row) {
                           std::string name(ToString(row.param));
                           std::erase(name, '-');
                           return name;
                         });

TEST(TakeOver, KilledAtAnyMoment) {
  ForkedGuest guest({});
  for (int round = 0; round < 8; ++round) {
    ASSERT_TRUE(guest.StartEngine("")) << round;
    const std::uint64_t visits = guest.control().visits.load();
    ASSERT_TRUE(WaitUntil([&] { return guest.control().visits.load() > visits + 500; }));
    std::this_thread::sleep_for(std::chrono::microseconds(3000 + round * 7777));  // anywhere, not a point in the code
    guest.KillEngine();
  }
  ASSERT_TRUE(guest.StartEngine(""));
  ASSERT_TRUE(guest.ComeHome());
  ASSERT_TRUE(guest.EndGuest());
  EXPECT_EQ(guest.control().wrong.load(), 0U);
  EXPECT_EQ(guest.arena().switches().lost_reads.load(), 0U);
}

}  // namespace
}  // namespace heca::fault
