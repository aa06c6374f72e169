// SPDX-License-Identifier: LGPL-2.1-or-later
// The client's end of an RDMA data connection. Made by RdmaDialer::Dial.
//
// Where the lease's memory is registered at the sponsor, slots are read and written by this end alone (one_sided.h). All else is
// asked of the server:
//
//   read     SEND the request, which names a place in our ring; the server WRITEs the pages there and SENDs its answer
//   write    the pages lie in our ring; SEND the request; the server READs them and SENDs its answer
//   release  SEND the request, its answer comes back
//
// Operations are delivered in the order in which they were started. Pages are handed out from the ring, and written from it or
// from the memory that the channel was told of. Nothing else is registered here: guest memory never is, since that would pin it.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "transport/channel.h"
#include "transport/rdma/link.h"
#include "transport/rdma/one_sided.h"
#include "transport/rdma/operation_in_flight.h"
#include "transport/rdma/page_ring.h"
#include "transport/rdma/slot_directory.h"
#include "wire/rdma.h"

namespace heca::transport::rdma {

/// One thread at a time, except Moved().
class RdmaChannel final : public Channel {
 public:
  /// `link` is connected, `answers` were posted to it as receives before that; `granted` was checked by its decoder. With a
  /// directory it is read here, until the deadline.
  static Result<std::unique_ptr<RdmaChannel>> Make(std::unique_ptr<Link> link, Registered answers, Role role,
                                                   const wire::RdmaReply& granted, std::shared_ptr<MarkBook> book,
                                                   Deadline deadline);

  /// Registers it, if this end writes by itself.
  void WritesFrom(std::span<const std::byte> memory) override;
  Status Read(OpTag tag, std::span<const Slot> slots) override;
  Status Write(OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages, Attempt attempt) override;
  Status Release(OpTag tag, std::span<const Slot> slots) override;
  Status Poll(ChannelSink& sink) override;
  [[nodiscard]] PollNeed Need() const override;
  [[nodiscard]] std::size_t MaxBatch() const override { return max_batch_; }
  [[nodiscard]] Bytes PageSize() const override { return page_size_; }
  [[nodiscard]] Traffic Moved() const override;
  [[nodiscard]] std::string Describe() const override { return description_; }

  /// What any channel may have in flight, since it is made before it is known what this one may.
  static Depth MostDepth();
  /// Answers for that many, and their posting.
  static Result<Registered> MakeAnswers(Link& link);

 private:
  RdmaChannel(std::unique_ptr<Link> link, Registered answers, Registered requests, Registered pages, Role role,
              const wire::HelloReply& granted);
  /// Nothing else may be in flight.
  Status LoadDirectory(const wire::RemoteMemory& directory, std::shared_ptr<MarkBook> book, Deadline deadline);

  Status Start(Operation operation, OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages, Attempt attempt);
  /// The requests of the operation's first step, or it goes on waiting.
  Status Begin(std::uint64_t position);
  void Ask(std::uint64_t position);
  /// Whether a change before it might be overtaken: it has not decided yet what it changes, or one of the two is carried out by the
  /// server and the other here.
  [[nodiscard]] bool MustWait(std::uint64_t position);
  /// Begins what waited and need not any more.
  Status Advance();
  OperationInFlight& At(std::uint64_t position) { return ring_[position % ring_.size()]; }

  /// False if nothing was there.
  Result<bool> PollOnce(ChannelSink& sink);
  Status Take(const ibv_wc& completion);
  Status TakeAnswer(const ibv_wc& completion);
  void DeliverFinished(ChannelSink& sink);
  void Deliver(ChannelSink& sink);

  const std::unique_ptr<Link> link_;
  const Role role_;
  const Bytes page_size_;
  const std::size_t max_batch_;
  const std::size_t window_;
  const std::string description_;
  const Registered answers_;
  const Registered requests_;
  const Registered pages_;
  Source source_;
  std::optional<SlotDirectory> directory_;  ///< none: everything is asked
  std::unique_ptr<OneSided> one_sided_;     ///< with it
  PageRing room_;
  std::vector<OperationInFlight> ring_;  ///< one place per credit
  std::uint64_t done_ = 0;               ///< operations, counted from the first
  std::uint64_t started_ = 0;
  std::size_t payload_in_flight_ = 0;
  std::size_t requests_in_flight_ = 0;
  Status failed_;
  // Written by the owner only.
  std::atomic<std::uint64_t> bytes_read_{0};
  std::atomic<std::uint64_t> bytes_written_{0};
};

/// Registered memory for the pages of a connection with that grant: as much as may be in flight, in pieces.
std::size_t RingBytes(const wire::HelloReply& granted);

}  // namespace heca::transport::rdma
