// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/rdma/link.h"

#include <fmt/format.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/fail_points.h"
#include "transport/rdma/manager.h"
#include "transport/socket.h"

namespace heca::transport::rdma {
namespace {

/// What requests are tried to be carried inline, largest first: any of ours; a request for one page; an answer. Soft-iWARP takes 96.
constexpr std::array<std::uint32_t, 4> kInline{static_cast<std::uint32_t>(wire::kMaxRdmaRequestSize), 96, 48, 16};
/// Reads of a page each that are in flight at the peer's device; the devices' own limits may be lower.
constexpr int kMostReads = 16;
/// What a test that wants connections to break lets each of them do before.
constexpr int kBreaksAfter = 3000;
/// A connection that had no sign of life for this long is asked for one.
constexpr Millis kPulseEvery{1000};

ibv_send_wr Request(ibv_wr_opcode operation) {
  ibv_send_wr request{};
  request.opcode = operation;
  return request;
}

}  // namespace

Status Link::Open(const Depth& depth) {
  HECA_RETURN_IF_ERROR(MakeQueues(depth));
  return MakeWait();
}

Link::~Link() {
  if (connected_) rdma_disconnect(id_.get());
}

Status Link::MakeQueues(const Depth& depth) {
  ibv_context* const device = id_->verbs;
  told_.reset(ibv_create_comp_channel(device));
  if (!told_) return Status::FromErrno(errno, "making a completion channel");
  HECA_RETURN_IF_ERROR(DoNotBlock(told_->fd));
  ibv_device_attr limits{};
  if (const int error = ibv_query_device(device, &limits); error != 0) return Status::FromErrno(error, "asking an RDMA device");
  const std::uint32_t sends = depth.sends + 1;  // the pulse
  if (std::max(sends, depth.receives) > static_cast<std::uint32_t>(limits.max_qp_wr)) {
    return {ErrorCode::kUnsupported, fmt::format("the device takes {} requests on a queue, and {} are needed", limits.max_qp_wr,
                                                 std::max(sends, depth.receives))};
  }
  completions_.reset(ibv_create_cq(device, static_cast<int>(sends + depth.receives), nullptr, told_.get(), 0));
  if (!completions_) return Status::FromErrno(errno, "making a completion queue");
  for (const std::uint32_t carried : kInline) {
    ibv_qp_init_attr wanted{};
    wanted.send_cq = wanted.recv_cq = completions_.get();
    wanted.qp_type = IBV_QPT_RC;
    wanted.cap = {.max_send_wr = sends, .max_recv_wr = depth.receives, .max_send_sge = 1, .max_recv_sge = 1,
                  .max_inline_data = carried};
    if (rdma_create_qp(id_.get(), domain_.get(), &wanted) == 0) {
      queues_.reset(id_.get());
      inline_limit_ = wanted.cap.max_inline_data;
      break;
    }
  }
  if (!queues_) return Status::FromErrno(errno, fmt::format("making a queue pair of {} sends and {} receives", sends, depth.receives));
  HECA_ASSIGN_OR_RETURN(pulse_, Registered::Make(*domain_, 4096, Reach::kPeerReadsAndWrites));
  return {};
}

Status Link::MakeWait() {
  wait_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!wait_) return Status::FromErrno(errno, "epoll_create1");
  for (const int fd : {told_->fd, events_->fd}) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (::epoll_ctl(wait_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return Status::FromErrno(errno, "epoll_ctl");
  }
  return {};
}

std::string Link::InUse() const {
  ibv_port_attr port{};
  ibv_query_port(id_->verbs, id_->port_num, &port);
  return fmt::format("{}/{} (MTU {}, GID {})", ibv_get_device_name(id_->verbs->device), id_->port_num, Size(port.active_mtu),
                     rdma::Text(id_->route.addr.addr.ibaddr.sgid));
}

void Link::Connected(const wire::RemoteMemory& theirs) {
  connected_ = true;
  their_pulse_ = theirs;
  if (FailPointHit(FailPoint::kBreakRdma)) breaks_after_ = kBreaksAfter;
  last_sign_ = Clock::now();
}

rdma_conn_param Link::Parameters(std::span<std::byte> private_data) const {
  ibv_device_attr device{};
  int responder = kMostReads;
  int initiator = kMostReads;
  if (ibv_query_device(id_->verbs, &device) == 0) {
    responder = std::clamp(device.max_qp_rd_atom, 1, kMostReads);
    initiator = std::clamp(device.max_qp_init_rd_atom, 1, kMostReads);
  }
  rdma_conn_param parameters{};
  parameters.private_data = private_data.data();
  parameters.private_data_len = static_cast<std::uint8_t>(private_data.size());
  parameters.responder_resources = static_cast<std::uint8_t>(responder);
  parameters.initiator_depth = static_cast<std::uint8_t>(initiator);
  parameters.retry_count = 7;
  parameters.rnr_retry_count = 7;  // for ever: the pulse notices a peer that takes nothing
  return parameters;
}

void Link::Break() {
  ibv_qp_attr broken{};
  broken.qp_state = IBV_QPS_ERR;
  ibv_modify_qp(id_->qp, &broken, IBV_QP_STATE);
}

void Link::Add(ibv_send_wr& request, const ibv_sge& part, std::uint64_t tag) {
  if (breaks_after_ != 0 && --breaks_after_ == 0) Break();
  request.wr_id = tag;
  request.num_sge = 1;
  if (tag != kUnsignalled) request.send_flags |= IBV_SEND_SIGNALED;
  requests_.push_back(request);
  parts_.push_back(part);
}

void Link::Send(const ibv_sge& part, std::uint64_t tag) {
  ibv_send_wr request = Request(IBV_WR_SEND);
  if (part.length <= inline_limit_) request.send_flags = IBV_SEND_INLINE;
  Add(request, part, tag);
}

void Link::Write(const ibv_sge& part, const wire::RemoteMemory& to, std::uint64_t tag, bool behind_reads) {
  ibv_send_wr request = Request(IBV_WR_RDMA_WRITE);
  if (part.length <= inline_limit_) request.send_flags = IBV_SEND_INLINE;
  if (behind_reads) request.send_flags |= IBV_SEND_FENCE;
  request.wr.rdma = {.remote_addr = to.address, .rkey = to.key};
  Add(request, part, tag);
}

void Link::Read(const ibv_sge& part, const wire::RemoteMemory& from, std::uint64_t tag) {
  ibv_send_wr request = Request(IBV_WR_RDMA_READ);
  request.wr.rdma = {.remote_addr = from.address, .rkey = from.key};
  Add(request, part, tag);
}

Status Link::Post() {
  if (requests_.empty()) return {};
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    requests_[i].sg_list = &parts_[i];
    requests_[i].next = i + 1 < requests_.size() ? &requests_[i + 1] : nullptr;
  }
  ibv_send_wr* refused = nullptr;
  const int error = ibv_post_send(id_->qp, requests_.data(), &refused);
  requests_.clear();
  parts_.clear();
  return error == 0 ? Status() : ConnectionLost(error, "sending over RDMA");
}

Status Link::Receive(const ibv_sge& part, std::uint64_t tag) {
  ibv_sge one = part;
  ibv_recv_wr request{};
  request.wr_id = tag;
  request.sg_list = &one;
  request.num_sge = 1;
  ibv_recv_wr* refused = nullptr;
  const int error = ibv_post_recv(id_->qp, &request, &refused);
  return error == 0 ? Status() : ConnectionLost(error, "receiving over RDMA");
}

Result<std::span<const ibv_wc>> Link::Poll() {
  const int found = ibv_poll_cq(completions_.get(), static_cast<int>(polled_.size()), polled_.data());
  if (found < 0) return Status(ErrorCode::kInternal, "the completion queue cannot be polled", ErrorScope::kConnection);
  if (found > 0) {
    last_sign_ = Clock::now();
    found_ = true;
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(found); ++i) {
    if (polled_[i].status != IBV_WC_SUCCESS) {
      return Status(ErrorCode::kUnavailable,
                    fmt::format("the RDMA connection broke: {} (vendor's word {})", ibv_wc_status_str(polled_[i].status),
                                polled_[i].vendor_err), ErrorScope::kConnection);
    }
    if (polled_[i].wr_id == kPulseTag) {
      feeling_ = false;
    } else {
      polled_[kept++] = polled_[i];
    }
  }
  if (kept == 0 && found > 0) return Poll();
  return std::span<const ibv_wc>(polled_.data(), kept);
}

bool Link::TakeNews() {
  ibv_cq* queue = nullptr;
  void* ours = nullptr;
  if (ibv_get_cq_event(told_.get(), &queue, &ours) != 0) return false;
  ibv_ack_cq_events(queue, 1);
  return true;
}

Result<bool> Link::Rest() {
  const bool found = std::exchange(found_, false);
  if (std::exchange(just_armed_, false)) return false;
  // Where completions were found, it is of them that fd() told. If the manager has news too, it tells once more.
  if (!found) HECA_RETURN_IF_ERROR(HungUp());
  HECA_RETURN_IF_ERROR(FeelPulse());
  if (armed_ && !TakeNews()) return false;
  HECA_RETURN_IF_ERROR(Arm());
  just_armed_ = true;
  return true;
}

Status Link::Arm() {
  const int error = ibv_req_notify_cq(completions_.get(), 0);
  if (error != 0) return Status::FromErrno(error, "asking for news of completions", ErrorScope::kConnection);
  armed_ = true;
  return {};
}

Status Link::FeelPulse() {
  if (!connected_) return {};
  const auto silent = Clock::now() - last_sign_;
  if (feeling_) {
    if (silent < kPulseEvery + kPeerTimeout - Millis(500)) return {};
    return {ErrorCode::kUnavailable, fmt::format("no sign of life from the peer for {} ms",
                                                 std::chrono::duration_cast<Millis>(silent).count()), ErrorScope::kConnection};
  }
  if (silent < kPulseEvery) return {};
  Read(pulse_.Part(kFeltAt, 8), their_pulse_, kPulseTag);
  feeling_ = true;
  return Post();
}

Status Link::HungUp() {
  const auto event = TakeEvent(*events_);
  if (!event.ok()) return event.status();
  if (*event == nullptr) return {};
  switch ((*event)->event) {
    case RDMA_CM_EVENT_ESTABLISHED: return {};
    case RDMA_CM_EVENT_DISCONNECTED:
    case RDMA_CM_EVENT_TIMEWAIT_EXIT:
      return {ErrorCode::kUnavailable, "the peer closed the RDMA connection", ErrorScope::kConnection};
    default:
      return {ErrorCode::kUnavailable, fmt::format("the RDMA connection ended: {}", rdma_event_str((*event)->event)),
              ErrorScope::kConnection};
  }
}

}  // namespace heca::transport::rdma
