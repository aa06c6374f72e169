// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/event_log.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace heca::node {
namespace {

class Collector final : public control::EventSink {
 public:
  explicit Collector(std::size_t want) : want_(want) {}
  bool OnEvent(const control::Event& event) override {
    sequences.push_back(event.sequence);
    return sequences.size() < want_;
  }
  [[nodiscard]] bool Cancelled() const override { return cancelled; }
  std::vector<std::uint64_t> sequences;
  std::atomic<bool> cancelled{false};

 private:
  std::size_t want_;
};

void AddSome(EventLog& log, int count) {
  for (int i = 0; i < count; ++i) {
    log.Add(control::Severity::kInfo, control::EventKind::kAttached, "r", "event " + std::to_string(i));
  }
}

TEST(EventLog, DeliversFromWhereTheReaderWas) {
  EventLog log;
  AddSome(log, 5);
  Collector all(100);
  ASSERT_TRUE(log.Deliver({.since = 0, .follow = false}, all).ok());
  EXPECT_EQ(all.sequences, (std::vector<std::uint64_t>{1, 2, 3, 4, 5}));
  Collector rest(100);
  ASSERT_TRUE(log.Deliver({.since = 3, .follow = false}, rest).ok());
  EXPECT_EQ(rest.sequences, (std::vector<std::uint64_t>{4, 5}));
}

TEST(EventLog, ASequenceOfAFormerRunCountsAsZero) {
  EventLog log;
  AddSome(log, 2);
  Collector all(100);
  ASSERT_TRUE(log.Deliver({.since = 900, .follow = false}, all).ok());
  EXPECT_EQ(all.sequences, (std::vector<std::uint64_t>{1, 2}));
}

TEST(EventLog, KeepsTheNewestAndShowsAGap) {
  EventLog log;
  AddSome(log, static_cast<int>(EventLog::kKept) + 10);
  Collector all(EventLog::kKept + 100);
  ASSERT_TRUE(log.Deliver({}, all).ok());
  ASSERT_EQ(all.sequences.size(), EventLog::kKept);
  EXPECT_EQ(all.sequences.front(), 11u);
}

TEST(EventLog, FollowWaitsForTheNext) {
  EventLog log;
  Collector two(2);
  std::thread reader([&] { EXPECT_TRUE(log.Deliver({.since = 0, .follow = true}, two).ok()); });
  AddSome(log, 2);
  reader.join();
  EXPECT_EQ(two.sequences.size(), 2u);
}

TEST(EventLog, FollowEndsWhenTheReaderGoesOrTheLogCloses) {
  EventLog log;
  Collector gone(1);
  gone.cancelled = true;
  EXPECT_EQ(log.Deliver({.since = 0, .follow = true}, gone).code(), ErrorCode::kAborted);
  Collector waiting(1);
  std::thread reader([&] {
    EXPECT_EQ(log.Deliver({.since = 0, .follow = true}, waiting).code(), ErrorCode::kAborted);
  });
  log.Close();
  reader.join();
}

}  // namespace
}  // namespace heca::node
