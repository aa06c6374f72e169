// SPDX-License-Identifier: LGPL-2.1-or-later
// Drives readers and writers of a PageStore from a test, with pages that tell where and when they were written.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <vector>

#include "base/clock.h"
#include "heca/page_store.h"

namespace heca::test {

/// A page that tells by its bytes which slot it was written to and when; no word of it is zero.
inline void FillPage(std::span<std::byte> page, Slot slot, std::uint64_t version) {
  for (std::size_t at = 0; at < page.size(); at += 8) {
    const std::uint64_t word = ((std::uint64_t{slot.value()} << 40) ^ (version << 16) ^ at) * 0x9E3779B97F4A7C15 | 1;
    std::memcpy(page.data() + at, &word, 8);
  }
}

inline std::vector<std::byte> MakePages(Bytes page_size, std::span<const Slot> slots, std::uint64_t version) {
  std::vector<std::byte> pages(slots.size() * page_size.value());
  for (std::size_t i = 0; i < slots.size(); ++i) {
    FillPage(std::span(pages).subspan(i * page_size.value(), page_size.value()), slots[i], version);
  }
  return pages;
}

inline std::vector<Slot> SlotRange(std::uint32_t first, std::uint32_t count) {
  std::vector<Slot> slots;
  for (std::uint32_t i = 0; i < count; ++i) slots.push_back(Slot(first + i));
  return slots;
}

/// Waits as a poll loop would, at most 50 ms at a time.
inline void WaitFor(const PollNeed& need) {
  pollfd waiter{need.fd, static_cast<short>(need.events), 0};
  const int tick = need.tick_ms < 0 ? 50 : std::min(need.tick_ms, 50);
  ::poll(&waiter, need.fd < 0 ? 0 : 1, tick);
}

/// Drives one reader: collects every completion by its tag.
class ReadDriver final : public ReadSink {
 public:
  explicit ReadDriver(PageReader& reader) : reader_(reader) {}
  struct Done {
    Status status;
    std::vector<std::byte> pages;
  };
  void OnRead(OpTag tag, const Status& status, std::span<const std::byte> pages) override {
    EXPECT_TRUE(done.emplace(tag.value(), Done{status, {pages.begin(), pages.end()}}).second) << "completed twice";
  }
  /// Polls until `count` completions are there. False when ten seconds have passed.
  bool Await(std::size_t count) {
    const auto deadline = Deadline::After(std::chrono::seconds(10));
    while (done.size() < count && !deadline.Passed()) {
      if (reader_.Poll(*this) == 0 && done.size() < count) WaitFor(reader_.Need());
    }
    return done.size() >= count;
  }
  /// One read from start to end.
  Done Read(std::span<const Slot> slots) {
    done.clear();
    const auto deadline = Deadline::After(std::chrono::seconds(10));
    Status status = reader_.Start(OpTag(1), slots);
    while (status.code() == ErrorCode::kBusy && !deadline.Passed()) {
      if (reader_.Poll(*this) == 0) WaitFor(reader_.Need());
      status = reader_.Start(OpTag(1), slots);
    }
    if (!status.ok()) return {status, {}};
    if (!Await(1)) return {Status(ErrorCode::kDeadlineExceeded, "test: no completion in time"), {}};
    Done result = std::move(done.at(1));
    done.clear();
    return result;
  }
  std::map<std::uint64_t, Done> done;

 private:
  PageReader& reader_;
};

/// Drives one writer.
class WriteDriver final : public WriteSink {
 public:
  explicit WriteDriver(PageWriter& writer) : writer_(writer) {}
  void OnWritten(OpTag tag, const Status& status) override { Add(tag, status); }
  void OnReleased(OpTag tag, const Status& status) override { Add(tag, status); }
  bool Await(std::size_t count) {
    const auto deadline = Deadline::After(std::chrono::seconds(10));
    while (done.size() < count && !deadline.Passed()) {
      if (writer_.Poll(*this) == 0 && done.size() < count) WaitFor(writer_.Need());
    }
    return done.size() >= count;
  }
  Status Write(std::span<const Slot> slots, std::span<const std::byte> pages) {
    return Run([&] { return writer_.Write(OpTag(1), slots, pages); });
  }
  Status Release(std::span<const Slot> slots) {
    return Run([&] { return writer_.Release(OpTag(1), slots); });
  }
  std::map<std::uint64_t, Status> done;
  std::vector<std::uint64_t> order;

 private:
  void Add(OpTag tag, const Status& status) {
    EXPECT_TRUE(done.emplace(tag.value(), status).second) << "completed twice";
    order.push_back(tag.value());
  }
  Status Run(const std::function<Status()>& start) {
    done.clear();
    const auto deadline = Deadline::After(std::chrono::seconds(10));
    Status status = start();
    while (status.code() == ErrorCode::kBusy && !deadline.Passed()) {
      if (writer_.Poll(*this) == 0) WaitFor(writer_.Need());
      status = start();
    }
    if (!status.ok()) return status;
    if (!Await(1)) return Status(ErrorCode::kDeadlineExceeded, "test: no completion in time");
    Status result = done.at(1);
    done.clear();
    order.clear();
    return result;
  }
  PageWriter& writer_;
};

}  // namespace heca::test
