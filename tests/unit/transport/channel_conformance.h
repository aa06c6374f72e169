// SPDX-License-Identifier: LGPL-2.1-or-later
// What the conformance tests of every transport share. HECA_TEST_RDMA adds RDMA to the transports: see channel_harness.h.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "channel_harness.h"

namespace heca::transport {

using test_support::FakeSlotMemory;

inline constexpr LeaseId kLease{7};
inline constexpr Epoch kEpoch{3};

struct Transport {
  const char* name;
  Result<std::unique_ptr<ChannelHarness>> (*make)();
  bool alone = false;  ///< the client reads and writes by itself: the server is not asked, and sees nothing of it
};
inline std::vector<Transport> Transports() {
  std::vector<Transport> all{{"Tcp", MakeTcpHarness}, {"Loopback", MakeLoopbackHarness}};
  if (HasRdma()) {
    all.push_back({"Rdma", MakeRdmaHarness});
    all.push_back({"RdmaAlone", MakeRdmaHarness, true});
  }
  return all;
}

inline std::vector<Slot> Slots(std::uint32_t first, std::uint32_t count) {
  std::vector<Slot> slots;
  for (std::uint32_t i = 0; i < count; ++i) slots.emplace_back(first + i);
  return slots;
}

class ChannelConformance : public ::testing::TestWithParam<Transport> {
 protected:
  void SetUp() override {
    auto made = GetParam().make();
    if (made.status().code() == ErrorCode::kPermissionDenied) {
      GTEST_SKIP() << "needs root for a network namespace: " << made.status().ToString();
    }
    ASSERT_TRUE(made.ok()) << made.status().ToString();
    harness_ = std::move(*made);
    UseMemory(kBasePage, 1024, 1024);
  }

  /// In pieces of at most `piece` slots.
  void UseMemory(Bytes page_size, std::uint32_t slots, std::uint32_t piece) {
    memory_ = std::make_shared<FakeSlotMemory>(page_size, slots, kEpoch);
    if (GetParam().alone) memory_->LetBeReached(piece);
  }
  Result<std::unique_ptr<Channel>> TryDial(const Hello& hello) {
    return harness_->dialer().Dial(harness_->server().endpoint(), hello, Deadline::After(Millis(5000)));
  }
  Hello Expect(Role role) { return harness_->admission().Expect(kLease, kEpoch, role, memory_); }
  std::unique_ptr<Channel> Dial(Role role) {
    auto dialled = TryDial(Expect(role));
    EXPECT_TRUE(dialled.ok()) << dialled.status().ToString();
    return dialled.ok() ? std::move(*dialled) : nullptr;
  }

  Status WriteNow(Channel& channel, std::span<const Slot> slots, Attempt attempt = Attempt::kFirst) {
    const auto pages = Pattern(slots, channel.PageSize());
    return WriteNow(channel, slots, pages, attempt);
  }
  Status WriteNow(Channel& channel, std::span<const Slot> slots, std::span<const std::byte> pages, Attempt attempt) {
    Recorder done;
    HECA_RETURN_IF_ERROR(channel.Write(OpTag(1), slots, pages, attempt));
    HECA_RETURN_IF_ERROR(Drive(channel, done, [&] { return done.Has(1); }));
    return done.Get(1).status;
  }
  Status ReleaseNow(Channel& channel, std::span<const Slot> slots) {
    Recorder done;
    HECA_RETURN_IF_ERROR(channel.Release(OpTag(1), slots));
    HECA_RETURN_IF_ERROR(Drive(channel, done, [&] { return done.Has(1); }));
    return done.Get(1).status;
  }
  /// As if by a connection that nobody here knows.
  void WriteAsAnother(std::span<const Slot> slots) {
    const std::size_t size = memory_->PageSize().value();
    const auto pages = Pattern(slots, memory_->PageSize());
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const auto landing = memory_->BeginWrite(slots[i], Attempt::kFirst);
      ASSERT_TRUE(landing.ok()) << landing.status().ToString();
      std::copy_n(pages.begin() + static_cast<std::ptrdiff_t>(i * size), size, landing->begin());
      memory_->CommitWrite(slots[i]);
    }
  }
  Result<std::vector<std::byte>> ReadNow(Channel& channel, std::span<const Slot> slots) {
    Recorder done;
    HECA_RETURN_IF_ERROR(channel.Read(OpTag(1), slots));
    HECA_RETURN_IF_ERROR(Drive(channel, done, [&] { return done.Has(1); }));
    if (!done.Get(1).status.ok()) {
      EXPECT_TRUE(done.Get(1).pages.empty());
      return done.Get(1).status;
    }
    return done.Get(1).pages;
  }
  void ExpectHolds(Channel& channel, std::span<const Slot> slots) {
    const auto pages = ReadNow(channel, slots);
    ASSERT_TRUE(pages.ok()) << pages.status().ToString();
    EXPECT_TRUE(*pages == Pattern(slots, channel.PageSize()));
  }
  /// Soon, that is: what is registered at the server is found without a new connection.
  void ExpectNoServerIsAskedBy(const std::function<void()>& operations) {
    const auto served = [&] {
      std::uint64_t bytes = 0;
      for (const auto& connection : harness_->server().Connections()) bytes += connection.bytes_in + connection.bytes_out;
      return bytes;
    };
    const Deadline deadline = Deadline::After(Millis(10000));
    for (auto before = served();; before = served()) {
      operations();
      if (served() == before) break;
      ASSERT_FALSE(deadline.Passed()) << "the server is still asked";
      std::this_thread::sleep_for(Millis(20));
    }
  }
  void WaitForServedConnections(std::size_t count) {
    const Deadline deadline = Deadline::After(Millis(5000));
    while (harness_->server().Connections().size() != count) {
      ASSERT_FALSE(deadline.Passed());
      std::this_thread::yield();
    }
  }
  /// The first error of Poll within `span`, or kDeadlineExceeded.
  Status WaitForFailure(Channel& channel, Millis span) {
    Recorder ignored;
    return Drive(channel, ignored, [] { return false; }, span);
  }
  void ExpectCutOff(Channel& channel, Millis span = Millis(5000)) {
    const Status failure = WaitForFailure(channel, span);
    EXPECT_EQ(failure.code(), ErrorCode::kUnavailable) << failure.ToString();
    Recorder ignored;
    EXPECT_EQ(channel.Poll(ignored).code(), ErrorCode::kUnavailable) << "the error is not sticky";
    EXPECT_FALSE(channel.Read(OpTag(99), Slots(1, 1)).ok());
  }

  std::unique_ptr<ChannelHarness> harness_;
  std::shared_ptr<FakeSlotMemory> memory_;
};

}  // namespace heca::transport
