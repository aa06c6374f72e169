// SPDX-License-Identifier: LGPL-2.1-or-later
// The engine's end of a link: a channel when there is one, and the table of what is in flight. What a reader and a
// writer share. On a new channel everything in flight is started again, in the order in which it was first started.
//
// Costs over the bare channel, per operation: one table entry filled and emptied, a few relaxed loads and stores.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "heca/page_store.h"
#include "store/link.h"
#include "store/op_table.h"
#include "transport/channel.h"

namespace heca::store {

/// Operations of one reader or writer without a completion; more are kBusy. Twice what a connection ever admits, so
/// that a caller can fill the next window while one is under way.
inline constexpr std::uint32_t kMaxInFlight = 512;
/// Slots of one operation, bounded like one message of the wire (256 KiB, or one page that is larger).
[[nodiscard]] constexpr std::size_t MaxBatchOf(Bytes page_size) {
  return page_size.value() >= (256U << 10) ? 1 : (256U << 10) / page_size.value();
}

/// One thread at a time. Base class: the derived one says how completions are delivered.
class Session : protected transport::ChannelSink {
 public:
  Session(std::shared_ptr<Link> link, Bytes page_size);
  ~Session() override;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

 protected:
  /// To be called at most once, before any operation: see PageWriter::WritesFrom. Each channel is told.
  void SendsFrom(std::span<const std::byte> memory);
  /// Starts an operation, or queues it while there is no channel.
  Status StartOp(OpKind kind, OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages);
  /// Moves bytes; completions come through Complete.
  void Advance();
  [[nodiscard]] PollNeed SessionNeed() const;
  [[nodiscard]] std::size_t max_batch() const { return max_batch_; }
  [[nodiscard]] Bytes page_size() const { return page_size_; }

  /// `slots` is valid during the call; the operation has left the table already, so that the receiver may start
  /// another one.
  virtual void Complete(OpKind kind, OpTag tag, std::span<const Slot> slots, const Status& status,
                        std::span<const std::byte> pages) = 0;

 private:
  void OnRead(OpTag tag, const Status& status, std::span<const std::byte> pages) final;
  void OnWritten(OpTag tag, const Status& status) final;
  void OnReleased(OpTag tag, const Status& status) final;
  void Finish(OpKind kind, OpTag tag, const Status& status, std::span<const std::byte> pages);
  Status Send(std::uint32_t index);
  /// Sends what waits, as far as the channel takes it.
  void SendWaiting();
  void Disconnect();
  void FailAll(const Status& why);

  const std::shared_ptr<Link> link_;  ///< shared with the connector
  const Bytes page_size_;
  const std::size_t max_batch_;
  OpTable table_;
  std::span<const std::byte> sends_from_;
  std::unique_ptr<transport::Channel> channel_;
  std::uint32_t file_ = 0;  ///< counts channels that came and went: see PollNeed
  bool broken_ = false;     ///< the channel broke its contract
  std::uint64_t completions_ = 0;
  std::uint64_t bytes_read_ = 0;
  std::uint64_t bytes_written_ = 0;
};

}  // namespace heca::store
