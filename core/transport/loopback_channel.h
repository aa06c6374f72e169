// SPDX-License-Identifier: LGPL-2.1-or-later
// The client's end of a loopback link. Made by LoopbackNetwork::Dial.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "transport/channel.h"
#include "transport/loopback_site.h"
#include "transport/server.h"
#include "transport/slot_batch.h"

namespace heca::transport {

/// One thread at a time.
class LoopbackChannel final : public Channel {
 public:
  /// Site, link and memory are shared with the server's side of the pair, which may go away first.
  LoopbackChannel(std::shared_ptr<LoopbackSite> site, std::shared_ptr<LoopbackLink> link,
                  std::shared_ptr<SlotMemory> memory, Epoch epoch, std::uint16_t credits);

  Status Read(OpTag tag, std::span<const Slot> slots) override;
  Status Write(OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages, Attempt attempt) override;
  Status Release(OpTag tag, std::span<const Slot> slots) override;
  Status Poll(ChannelSink& sink) override;
  [[nodiscard]] PollNeed Need() const override;
  [[nodiscard]] std::size_t MaxBatch() const override { return max_batch_; }
  [[nodiscard]] Bytes PageSize() const override { return page_size_; }
  [[nodiscard]] Traffic Moved() const override;
  [[nodiscard]] std::string Describe() const override;

 private:
  struct Pending {
    Operation operation = Operation::kInvalid;
    OpTag tag;
    std::vector<Slot> slots;
    std::span<const std::byte> pages;
    Attempt attempt = Attempt::kInvalid;
  };

  Status Start(Pending pending);
  Status Failure();
  void Run(const Pending& pending, ChannelSink& sink);
  void RunRead(const Pending& pending, ChannelSink& sink);
  BatchOutcome RunWrite(const Pending& pending);

  const std::shared_ptr<LoopbackSite> site_;
  const std::shared_ptr<LoopbackLink> link_;
  std::shared_ptr<SlotMemory> memory_;  ///< null once the channel has failed
  const Epoch epoch_;
  const std::size_t credits_;
  const Bytes page_size_;
  const std::size_t max_batch_;
  std::deque<Pending> pending_;
  std::vector<std::byte> landing_;
};

}  // namespace heca::transport
