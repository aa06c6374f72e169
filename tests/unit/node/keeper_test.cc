// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/keeper.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace heca::node {
namespace {

constexpr KeeperPace kFast{Millis(1), Millis(1), Millis(4), Millis(1)};

Deadline Soon() { return Deadline::After(std::chrono::seconds(10)); }

/// A region whose answers the test decides.
class FakeKept final : public Kept {
 public:
  /// Called for each attempt with its number, from 1.
  std::function<Status(int)> take_back = [](int) { return Status(); };
  std::function<Status(int)> end = [](int) { return Status(); };

  [[nodiscard]] bool waiting() const override { return waiting_ && !ended_; }
  Status TakeBack() override {
    const Status taken = take_back(++tries_);
    if (taken.ok()) waiting_ = false;
    Changed();
    return taken;
  }
  void NoteTrouble(const Status& why, Millis next_try) override {
    const std::lock_guard lock(mutex_);
    troubles_.push_back(std::string(why.message()));
    pauses_.push_back(next_try);
  }
  void Tick() override {
    ++ticks_;
    Changed();
  }
  [[nodiscard]] bool ended() const override { return ended_; }
  Status End() override { return end(++ends_); }

  void SetEnded() { ended_ = true; }
  void SetWaiting() { waiting_ = true; }
  bool Await(const std::function<bool()>& condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_until(lock, Soon().when(), condition);
  }
  [[nodiscard]] std::vector<std::string> troubles() const {
    const std::lock_guard lock(mutex_);
    return troubles_;
  }
  [[nodiscard]] std::vector<Millis> pauses() const {
    const std::lock_guard lock(mutex_);
    return pauses_;
  }
  [[nodiscard]] bool taken() const { return !waiting_; }
  [[nodiscard]] int tries() const { return tries_; }
  [[nodiscard]] int ticks() const { return ticks_; }
  [[nodiscard]] int ends() const { return ends_; }

 private:
  void Changed() {
    { const std::lock_guard lock(mutex_); }
    changed_.notify_all();
  }
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> troubles_;
  std::vector<Millis> pauses_;
  std::atomic<bool> waiting_{true};
  std::atomic<bool> ended_{false};
  std::atomic<int> tries_{0};
  std::atomic<int> ticks_{0};
  std::atomic<int> ends_{0};
};

TEST(Keeper, TakesBackAsOftenAsItTakesWithAGrowingPause) {
  Keeper::Gate gate(Keeper::kAtOnce);
  auto region = std::make_shared<FakeKept>();
  region->take_back = [](int n) {
    return n < 6 ? Status(ErrorCode::kUnavailable, "try " + std::to_string(n)) : Status();
  };
  Keeper keeper(region, gate, kFast);
  ASSERT_TRUE(region->Await([&] { return region->taken(); }));
  EXPECT_EQ(region->tries(), 6);
  EXPECT_EQ(region->troubles().size(), 5U);
  EXPECT_EQ(region->troubles()[4], "try 5");
  EXPECT_EQ(region->pauses(), (std::vector<Millis>{Millis(1), Millis(2), Millis(4), Millis(4), Millis(4)}));
  const int before = region->ticks();
  ASSERT_TRUE(region->Await([&] { return region->ticks() > before + 2; })) << "it is looked after from then on";
  EXPECT_EQ(region->tries(), 6);
  region->SetWaiting();  // its store was lost and an operator asks again
  ASSERT_TRUE(region->Await([&] { return region->tries() == 7; }));
}

TEST(Keeper, ARegionThatCannotBeTakenBackDelaysNoOther) {
  Keeper::Gate gate(Keeper::kAtOnce);
  std::mutex mutex;
  std::condition_variable changed;
  bool open = false;
  auto stuck = std::make_shared<FakeKept>();
  stuck->take_back = [&](int) {
    std::unique_lock lock(mutex);
    changed.wait_until(lock, Soon().when(), [&] { return open; });
    return Status();
  };
  auto unreachable = std::make_shared<FakeKept>();
  unreachable->take_back = [](int) { return Status(ErrorCode::kUnavailable, "its sponsor does not answer"); };
  Keeper first(stuck, gate, kFast);
  Keeper second(unreachable, gate, kFast);
  std::vector<std::shared_ptr<FakeKept>> others;
  std::vector<std::unique_ptr<Keeper>> keepers;
  for (int i = 0; i < 20; ++i) {
    others.push_back(std::make_shared<FakeKept>());
    keepers.push_back(std::make_unique<Keeper>(others.back(), gate, kFast));
  }
  for (const auto& keeper : keepers) EXPECT_TRUE(keeper->WaitForFirstTry(Soon()));
  for (const auto& other : others) EXPECT_TRUE(other->taken());
  EXPECT_TRUE(second.WaitForFirstTry(Soon()));
  EXPECT_FALSE(first.WaitForFirstTry(Deadline::After(Millis(0))));
  EXPECT_FALSE(stuck->taken());
  {
    const std::lock_guard lock(mutex);
    open = true;
  }
  changed.notify_all();
  EXPECT_TRUE(first.WaitForFirstTry(Soon()));
}

TEST(Keeper, NoMoreThanSoManyAtOnce) {
  Keeper::Gate gate(Keeper::kAtOnce);
  std::atomic<int> now{0};
  std::atomic<int> most{0};
  std::vector<std::shared_ptr<FakeKept>> regions;
  std::vector<std::unique_ptr<Keeper>> keepers;
  std::mutex mutex;
  std::condition_variable full;
  for (int i = 0; i < 3 * Keeper::kAtOnce; ++i) {
    regions.push_back(std::make_shared<FakeKept>());
    regions.back()->take_back = [&](int) {
      const int running = ++now;
      std::unique_lock lock(mutex);
      most = std::max(most.load(), running);
      full.notify_all();
      // Until as many as may are inside; the last ones find nobody to wait for.
      full.wait_until(lock, Deadline::After(Millis(200)).when(), [&] { return most >= Keeper::kAtOnce; });
      --now;
      return Status();
    };
    keepers.push_back(std::make_unique<Keeper>(regions.back(), gate, kFast));
  }
  for (const auto& region : regions) ASSERT_TRUE(region->Await([&] { return region->taken(); }));
  EXPECT_EQ(most, Keeper::kAtOnce);
}

TEST(Keeper, EndsWhatHasEndedUntilItIsGivenBack) {
  Keeper::Gate gate(Keeper::kAtOnce);
  auto region = std::make_shared<FakeKept>();
  region->end = [](int n) { return n < 3 ? Status(ErrorCode::kUnavailable, "no sponsor") : Status(); };
  Keeper keeper(region, gate, kFast);
  ASSERT_TRUE(region->Await([&] { return region->taken() && region->ticks() > 2; }));
  EXPECT_EQ(region->ends(), 0);
  EXPECT_FALSE(keeper.over());
  region->SetEnded();
  const Deadline deadline = Soon();
  while (!keeper.over()) {
    ASSERT_FALSE(deadline.Passed());
    std::this_thread::yield();
  }
  EXPECT_EQ(region->ends(), 3);
}

}  // namespace
}  // namespace heca::node
