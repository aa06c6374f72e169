// SPDX-License-Identifier: LGPL-2.1-or-later
// One reliable connection of a device, without what is said over it: a queue pair, its completions, its end, and a pulse by
// which a peer that is gone without a word is noticed. Both ends of a data connection have one.
//
// The pulse is an RDMA READ of eight bytes of the peer, which the peer's device (or kernel, for the software devices) answers: a
// process that is stopped has one. It is the same for InfiniBand, RoCE and iWARP; iWARP tells of nothing else that is lost.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "heca/status.h"
#include "transport/rdma/registered.h"
#include "transport/rdma/registration.h"
#include "transport/rdma/verbs.h"

namespace heca::transport::rdma {

/// What one connection has in flight at most.
struct Depth {
  std::uint32_t sends = 0;     ///< requests of any kind on the send queue, beside the pulse
  std::uint32_t receives = 0;
};

/// One thread at a time.
class Link {
 public:
  /// Of an id that has found its device. The id's events come on `events`.
  Link(Owned<rdma_event_channel> events, Owned<rdma_cm_id> id, Domain domain)
      : events_(std::move(events)), id_(std::move(id)), domain_(std::move(domain)) {}
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  /// Before all that follows but id, domain and events.
  Status Open(const Depth& depth);
  [[nodiscard]] rdma_cm_id& id() const { return *id_; }
  [[nodiscard]] ibv_pd& domain() const { return *domain_; }
  [[nodiscard]] rdma_event_channel& events() const { return *events_; }
  /// Device, port, active MTU and GID, for people: "rxe0/1 (MTU 4096, GID ::ffff:10.9.0.1)".
  [[nodiscard]] std::string InUse() const;
  /// Bytes that a request may carry itself.
  [[nodiscard]] std::size_t inline_limit() const { return inline_limit_; }
  /// Where the peer looks for our pulse.
  [[nodiscard]] wire::RemoteMemory OurPulse() const { return pulse_.Remote(kShownAt); }
  /// Connected: the peer's pulse is felt from now on.
  void Connected(const wire::RemoteMemory& theirs);
  /// Outstanding reads that both ends allow, and other things that the connection's set-up says of it.
  [[nodiscard]] rdma_conn_param Parameters(std::span<std::byte> private_data) const;

  /// Work requests, for the next Post. `tag` comes back with the completion; without one there is a completion only if it fails.
  void Send(const ibv_sge& part, std::uint64_t tag);
  /// Not before earlier reads are over, if `behind_reads`.
  void Write(const ibv_sge& part, const wire::RemoteMemory& to, std::uint64_t tag, bool behind_reads = false);
  void Read(const ibv_sge& part, const wire::RemoteMemory& from, std::uint64_t tag);
  /// All of them, and one word to the device.
  Status Post();
  Status Receive(const ibv_sge& part, std::uint64_t tag);
  static constexpr std::uint64_t kUnsignalled = 0;

  /// Completions that are there, those of the pulse swallowed; empty: none. An error ends the connection. No system call where
  /// the device's completion queue is mapped.
  Result<std::span<const ibv_wc>> Poll();
  /// To be called when Poll has found nothing, before the caller waits for fd(). True: poll again, something may have come in
  /// between. Looks after the peer too: an error if it has hung up, or shows no sign of life.
  Result<bool> Rest();
  /// fd() tells of the next completion from now on.
  Status Arm();
  /// Whether fd() tells of whatever is not polled yet.
  [[nodiscard]] bool armed() const { return armed_ && !just_armed_; }
  /// Now and then, also when nothing happens: an error if the peer shows no sign of life. Once a second it costs a request.
  Status FeelPulse();
  /// Readable when there may be something to poll.
  [[nodiscard]] int fd() const { return wait_.get(); }

 private:
  static constexpr std::size_t kShownAt = 0;  ///< in pulse_: what the peer reads
  static constexpr std::size_t kFeltAt = 8;   ///< and where the peer's lands
  static constexpr std::uint64_t kPulseTag = ~std::uint64_t{0};

  Status MakeQueues(const Depth& depth);
  Status MakeWait();
  void Add(ibv_send_wr& request, const ibv_sge& part, std::uint64_t tag);
  void Break();
  /// Takes the event that told of completions. False: there is none.
  bool TakeNews();
  /// kUnavailable if the connection manager tells that it is over.
  Status HungUp();

  Owned<rdma_event_channel> events_;
  Owned<rdma_cm_id> id_;
  const Domain domain_;
  Owned<ibv_comp_channel> told_;
  Owned<ibv_cq> completions_;
  QueuePair queues_;
  Registered pulse_;
  unique_fd wait_;  ///< epoll: completions and events
  std::size_t inline_limit_ = 0;
  std::vector<ibv_send_wr> requests_;  ///< to be posted
  std::vector<ibv_sge> parts_;         ///< of each
  std::array<ibv_wc, 32> polled_;
  bool armed_ = false;
  bool just_armed_ = false;  ///< by Rest, which asked to poll again
  bool found_ = false;       ///< a completion, since the last Rest
  bool connected_ = false;
  wire::RemoteMemory their_pulse_;
  bool feeling_ = false;  ///< a pulse is in flight
  int breaks_after_ = 0;  ///< requests; 0: it does not
  Clock::time_point last_sign_;
};

}  // namespace heca::transport::rdma
