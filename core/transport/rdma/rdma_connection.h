// SPDX-License-Identifier: LGPL-2.1-or-later
// The server's end of one RDMA data connection. Where the lease's memory is registered it has next to nothing to do: the client
// reads and writes by itself. Where it is not (a VM's RAM must not be pinned) requests come by SEND, and pages go through a ring
// of our own.
//
//   read     copy the pages into our ring, WRITE them where the client said, SEND the answer behind them
//   write    READ the pages from the client into our ring, copy them, SEND the answer; nothing else is done meanwhile
//   release  SEND the answer
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "transport/connection.h"
#include "transport/rdma/link.h"
#include "transport/rdma/page_ring.h"
#include "transport/rdma/registrar.h"
#include "transport/server.h"
#include "transport/slot_batch.h"
#include "wire/rdma.h"

namespace heca::transport::rdma {

/// Owner loop only, except Info.
class RdmaConnection final : public Connection {
 public:
  /// Before the connection is accepted: its receives must be there when the client sends. `granted` is what it is told. Where
  /// memory for it cannot be registered, `link` stays the caller's.
  static Result<std::unique_ptr<RdmaConnection>> Make(std::unique_ptr<Link>& link, Registrar& registrar,
                                                      std::shared_ptr<Registration> registration, const Hello& hello,
                                                      std::shared_ptr<SlotMemory> memory, const wire::HelloReply& granted);
  ~RdmaConnection() override;

  [[nodiscard]] Link& link() { return *link_; }
  [[nodiscard]] int fd() const override { return link_->fd(); }
  [[nodiscard]] std::uint32_t Events() const override;
  Status OnEvents(std::uint32_t events) override;
  Status OnTick() override;
  [[nodiscard]] bool unfinished() const override { return unfinished_; }
  [[nodiscard]] bool blocked() const override { return false; }  // what a peer does not take, its pulse tells of
  [[nodiscard]] Clock::time_point last_sent() const override { return {}; }
  [[nodiscard]] ConnectionInfo Info() const override;

 private:
  /// A request that was received: where it lies.
  struct Received {
    std::size_t index = 0;
    std::size_t size = 0;
  };
  /// An answer that was sent and not confirmed.
  struct Sent {
    PageRing::Place place;
    std::size_t index = 0;  ///< of its bytes
  };
  struct Writing {
    wire::RequestId id;
    std::size_t count = 0;
    std::array<Slot, wire::kMaxBatch> slots;
    std::array<std::span<std::byte>, wire::kMaxBatch> landings;
    PageRing::Place place;
  };

  RdmaConnection(std::unique_ptr<Link> link, Registrar& registrar, std::shared_ptr<Registration> registration,
                 const Hello& hello, std::shared_ptr<SlotMemory> memory, Registered requests, Registered answers,
                 Registered pages, std::size_t credits);
  Status Receive(std::size_t index);
  Status Take(const ibv_wc& completion);
  /// Carries out what was received, in order, as far as there is room for answers.
  Status Serve();
  /// False if there is no room for it now.
  Result<bool> ServeOne(const Received& received);
  Result<bool> ServeRead(const wire::RequestHeader& header, std::span<const Slot> slots, const wire::RemoteMemory& landing);
  Result<bool> BeginWrite(const wire::RequestHeader& header, std::span<const Slot> slots, const wire::RemoteMemory& source);
  Status FinishWrite();
  void Answer(const wire::Answer& answer, const PageRing::Place& place);

  // The memory goes last, which is what admits this connection's successor: by then no device reaches it any more.
  const std::shared_ptr<SlotMemory> memory_;
  Registrar& registrar_;
  const std::shared_ptr<Registration> registration_;
  const std::unique_ptr<Link> link_;
  const Hello hello_;
  const std::string peer_;  ///< and by what it is reached
  const std::size_t page_size_;
  const Registered requests_;
  const Registered answers_;
  const Registered pages_;
  PageRing room_;
  std::deque<Received> waiting_;
  std::deque<Sent> sent_;              ///< in the order of their answers
  std::vector<std::size_t> free_;      ///< places for answers
  std::unique_ptr<Writing> writing_;   ///< its pages are being fetched
  bool unfinished_ = false;
  // Written by the owner only.
  std::atomic<std::uint64_t> bytes_in_{0};
  std::atomic<std::uint64_t> bytes_out_{0};
};

}  // namespace heca::transport::rdma
