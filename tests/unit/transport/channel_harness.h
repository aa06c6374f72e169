// SPDX-License-Identifier: LGPL-2.1-or-later
// What the conformance suite needs of a transport. A new transport adds a Make function here and one line to
// Transports() in channel_conformance_test.cc.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "support/slot_memory_fake.h"
#include "transport/channel.h"
#include "transport/server.h"

namespace heca::transport {

/// A server with one admission, and a way to it.
class ChannelHarness {
 public:
  virtual ~ChannelHarness() = default;
  virtual Dialer& dialer() = 0;
  virtual Server& server() = 0;
  /// From now on nothing passes between client and server, and neither is told.
  virtual Status CutLink() = 0;
  /// No answers until LetAnswersGo, though the server lives.
  virtual void HoldAnswers(test_support::FakeSlotMemory& memory) = 0;
  virtual void LetAnswersGo(test_support::FakeSlotMemory& memory) = 0;
  test_support::FakeAdmission& admission() { return admission_; }

 private:
  test_support::FakeAdmission admission_;
};

Result<std::unique_ptr<ChannelHarness>> MakeTcpHarness();
/// Over the device behind the address and interface of HECA_TEST_RDMA ("10.9.0.1,dummy0"), which belong to the test.
Result<std::unique_ptr<ChannelHarness>> MakeRdmaHarness();
/// Whether HECA_TEST_RDMA is set.
bool HasRdma();
Result<std::unique_ptr<ChannelHarness>> MakeLoopbackHarness();

/// Keeps completions by tag, with copies of the pages.
class Recorder final : public ChannelSink {
 public:
  struct Done {
    Status status;
    std::vector<std::byte> pages;
  };
  void OnRead(OpTag tag, const Status& status, std::span<const std::byte> pages) override;
  void OnWritten(OpTag tag, const Status& status) override;
  void OnReleased(OpTag tag, const Status& status) override;
  [[nodiscard]] bool Has(std::uint64_t tag) const { return done_.contains(tag); }
  [[nodiscard]] const Done& Get(std::uint64_t tag) const { return done_.at(tag); }
  [[nodiscard]] std::size_t size() const { return done_.size(); }
  /// Tags in the order of their completion.
  [[nodiscard]] const std::vector<std::uint64_t>& order() const { return order_; }

 private:
  void Put(OpTag tag, Done done);
  std::map<std::uint64_t, Done> done_;
  std::vector<std::uint64_t> order_;
};

/// Polls the channel until `until` holds, it fails, or `span` has passed (kDeadlineExceeded).
Status Drive(Channel& channel, ChannelSink& sink, const std::function<bool()>& until, Millis span = Millis(10000));

/// Bytes that differ from slot to slot and within a page.
std::vector<std::byte> Pattern(std::span<const Slot> slots, Bytes page_size);

}  // namespace heca::transport
