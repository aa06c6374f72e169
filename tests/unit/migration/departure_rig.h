// SPDX-License-Identifier: LGPL-2.1-or-later
// A departure whose VM, image and destination the test plays, and what they noted.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "migration/departure.h"

namespace heca::migration {

using control::Arrival;
using control::ArrivalState;

/// What happened, in order, across all three.
using Diary = std::vector<std::string>;

inline Arrival In(ArrivalState state, std::uint64_t moved = 0, std::string trouble = "") {
  Arrival arrival;
  arrival.state = state;
  arrival.moved = Bytes(moved);
  arrival.blocktime = control::Blocktime{{Nanos(20), Nanos(30)}, Nanos(10), Nanos(0)};
  arrival.trouble = std::move(trouble);
  return arrival;
}

inline Arrival Left(std::uint64_t left, std::uint64_t moved) {
  Arrival arrival = In(ArrivalState::kPrepared, moved);
  arrival.left = Bytes(left);
  return arrival;
}

inline bool Has(const Diary& diary, const std::string& entry) {
  return std::find(diary.begin(), diary.end(), entry) != diary.end();
}
inline std::size_t At(const Diary& diary, const std::string& entry) {
  return static_cast<std::size_t>(std::find(diary.begin(), diary.end(), entry) - diary.begin());
}

inline Status Broken(const std::string& what) { return {ErrorCode::kUnavailable, what + " is broken"}; }

struct FakeVm final : LeavingVm {
  explicit FakeVm(Diary& shared) : diary(shared) {}
  Status HoldBack() override {
    held_back = true;
    return {};
  }
  Status NoteWrites() override {
    diary.push_back("note writes");
    return note_writes;
  }
  Result<std::vector<control::PageRun>> Written() override {
    diary.push_back("written");
    if (written.empty()) return std::vector<control::PageRun>{};
    auto answer = written.front();
    if (written.size() > 1) written.erase(written.begin());
    return answer;
  }
  Result<std::vector<control::PageRun>> WrittenLast() override {
    diary.push_back("written last");
    return std::vector<control::PageRun>{{7, 2}};
  }
  Status AwaitDevices() override {
    diary.push_back("devices");
    return {};
  }
  Status ForgetWrites() override {
    diary.push_back("forget writes");
    return {};
  }
  Status Start() override {
    diary.push_back("start");
    return start;
  }
  Result<bool> WaitStopped(Deadline) override {
    if (!stopped.ok()) return stopped.status();
    if (!Has(diary, "start") && !stops_by_itself) return false;
    if (*stopped) diary.push_back("stopped");
    return stopped;
  }
  Clock::time_point stopped_at() const override { return when; }
  Status Continue() override {
    diary.push_back("continue");
    return {};
  }
  Result<std::optional<bool>> WaitDecided(Deadline) override { return decided; }
  Result<bool> Cancel() override {
    diary.push_back("cancel");
    if (!cancels.empty()) {
      const auto answer = cancels.front();
      if (cancels.size() > 1) cancels.erase(cancels.begin());
      return answer;
    }
    return true;
  }
  Status Fence() override {
    diary.push_back("fence");
    return {};
  }
  Status Restore() override {
    diary.push_back("restore");
    return {};
  }
  Diary& diary;
  Status start, note_writes;
  std::vector<std::vector<control::PageRun>> written;
  Result<bool> stopped = true;
  Result<std::optional<bool>> decided = std::optional<bool>(true);
  std::vector<Result<bool>> cancels;
  bool held_back = false;
  bool stops_by_itself = false;  ///< somebody else leads QEMU's stream
  Clock::time_point when = Clock::now();
};

struct FakeImage final : LentImage {
  explicit FakeImage(Diary& shared) : diary(shared) {
    the_lease.slots = 256;
    the_lease.page_size = kBasePage;
  }
  const control::Lease& lease() const override { return the_lease; }
  Status Show() override {
    diary.push_back("show");
    return {};
  }
  Result<std::optional<control::Placement>> Moved(bool copied) override {
    if (moved.empty()) return std::optional<control::Placement>();
    diary.push_back(copied ? "changed" : "moved");
    auto answer = moved.front();
    if (moved.size() > 1) moved.erase(moved.begin());
    return std::optional(answer);
  }
  Result<std::optional<control::Placement>> Rest() override {
    if (rest.ok() && !*rest) return rest;
    diary.push_back("rest");
    return rest;
  }
  Status Open() override {
    diary.push_back("image open");
    return {};
  }
  Result<std::vector<control::PageRun>> Holes() const override { return std::vector<control::PageRun>{{3, 4}}; }
  void Withdraw() override { diary.push_back("withdraw"); }
  void Keep() override { diary.push_back("keep"); }
  bool GivenBack() const override { return given_back; }
  Diary& diary;
  control::Lease the_lease;
  bool given_back = false;
  std::vector<control::Placement> moved;  ///< none: not governed
  Result<std::optional<control::Placement>> rest = std::optional<control::Placement>();
};

struct FakeDestination final : control::MigrationApi {
  explicit FakeDestination(Diary& shared) : diary(shared) {}
  Result<control::Departing> Depart(const control::DepartRequest&) override { return Broken("not asked here"); }
  Status Prepare(const control::PrepareRequest&) override {
    diary.push_back("prepare");
    return prepare;
  }
  Status Place(const RegionId&, const control::LeaseKey&, const control::Placement& placement) override {
    diary.push_back("place");
    if (!places.empty()) {
      const Status answer = places.front();
      places.erase(places.begin());
      if (!answer.ok()) return answer;
    }
    placed.push_back(placement);
    return place;
  }
  Status Open(const RegionId&, const control::LeaseKey&) override {
    diary.push_back("open");
    bandwidth_at_open = bandwidth;
    if (!opens.empty()) {
      const Status answer = opens.front();
      opens.erase(opens.begin());
      return answer;
    }
    return open;
  }
  Status Tell(const RegionId&, const control::LeaseKey&, control::PageNews news,
              const std::vector<control::PageRun>& runs) override {
    if (!tells.empty()) {
      const Status answer = tells.front();
      tells.erase(tells.begin());
      if (!answer.ok()) return answer;
    }
    if (news == control::PageNews::kEmpty) {
      holes = runs;
      if (!Has(diary, "open")) diary.push_back("told empty");
    } else {
      changed.insert(changed.end(), runs.begin(), runs.end());
      diary.push_back("told changed");
    }
    return {};
  }
  Result<Arrival> Look(const RegionId&, const control::LeaseKey&, std::uint64_t pace) override {
    bandwidth = pace;
    if (!Has(diary, "open")) {
      Arrival answer = In(ArrivalState::kPrepared, 4096);
      if (!ahead.empty()) {
        answer = ahead.front();
        if (ahead.size() > 1) ahead.erase(ahead.begin());
      }
      return answer;
    }
    if (looks.empty()) return Broken("link");
    const auto answer = looks.front();
    if (looks.size() > 1) looks.erase(looks.begin());
    return answer;
  }
  Status Abort(const RegionId&, const control::LeaseKey&, const std::string& why) override {
    diary.push_back("abort");
    reason = why;
    return {};
  }
  Diary& diary;
  Status prepare, place, open;
  std::vector<Status> places, opens;
  std::vector<control::Placement> placed;
  std::vector<control::PageRun> holes, changed;
  std::vector<Status> tells;
  std::vector<Arrival> ahead;  ///< what Look says before Open; the last for ever; none: all is there
  std::uint64_t bandwidth = 0, bandwidth_at_open = 0;
  std::vector<Result<Arrival>> looks{In(ArrivalState::kRunning),
                                     In(ArrivalState::kComplete, 8192)};
  std::string reason;
};

struct Patient final : control::ProgressSink {
  void OnProgress(const control::Progress& progress) override { phases.push_back(progress.phase); }
  bool Cancelled() const override { return cancelled_at == "" ? false : !phases.empty() && phases.back() == cancelled_at; }
  std::vector<std::string> phases;
  std::string cancelled_at;
};

class DepartureTest : public ::testing::Test {
 protected:
  Result<control::MigrationSummary> Run() {
    control::PrepareRequest request;
    request.region = "vm";
    departure_.emplace(vm_, image_, there_, std::move(request), plan_, steering_,
                       DepartureTimes{.stream = Millis(50),
                                      .decide = Millis(20),
                                      .look = Millis(1),
                                      .ahead = {.contact = Millis(100), .welcome = Millis(50), .look = Millis(1)}});
    return departure_->Run(patient_);
  }
  /// The VM runs here again, and nobody can read what it changes.
  void ExpectHere() {
    EXPECT_FALSE(Has(diary_, "fence"));
    EXPECT_EQ(departure_->phase(), Phase::kAborted);
    EXPECT_TRUE(Has(diary_, "withdraw"));
    EXPECT_FALSE(Has(diary_, "keep"));
  }

  Diary diary_;
  FakeVm vm_{diary_};
  FakeImage image_{diary_};
  FakeDestination there_{diary_};
  Patient patient_;
  Plan plan_;
  Steering steering_;
  std::optional<Departure> departure_;
};

}  // namespace heca::migration
