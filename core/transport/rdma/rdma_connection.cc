// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/rdma/rdma_connection.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "transport/rdma/manager.h"
#include "transport/rdma/rdma_channel.h"

namespace heca::transport::rdma {
namespace {

/// Rounds of completions for one event, so that one busy connection leaves room for the others of its thread.
constexpr int kMaxRounds = 8;
// Tags of work requests.
constexpr std::uint64_t kAnswered = 1;
constexpr std::uint64_t kFetched = 2;
/// A request is received with its place as its tag.
constexpr std::size_t Room(std::size_t index) { return index * wire::kMaxRdmaRequestSize; }

void Count(std::atomic<std::uint64_t>& counter, std::size_t bytes) {
  counter.store(counter.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
}

}  // namespace

Result<std::unique_ptr<RdmaConnection>> RdmaConnection::Make(std::unique_ptr<Link>& link, Registrar& registrar,
                                                             std::shared_ptr<Registration> registration, const Hello& hello,
                                                             std::shared_ptr<SlotMemory> memory,
                                                             const wire::HelloReply& granted) {
  const std::size_t credits = granted.credits;
  HECA_ASSIGN_OR_RETURN(auto requests, Registered::Make(link->domain(), Room(credits), Reach::kLocal));
  HECA_ASSIGN_OR_RETURN(auto answers, Registered::Make(link->domain(), credits * wire::kAnswerSize, Reach::kLocal));
  HECA_ASSIGN_OR_RETURN(auto pages, Registered::Make(link->domain(), RingBytes(granted), Reach::kLocal));
  HECA_RETURN_IF_ERROR(link->Arm());
  std::unique_ptr<RdmaConnection> connection(
      new RdmaConnection(std::move(link), registrar, std::move(registration), hello, std::move(memory), std::move(requests),
                         std::move(answers), std::move(pages), credits));
  for (std::size_t i = 0; i < credits; ++i) HECA_RETURN_IF_ERROR(connection->Receive(i));
  return connection;
}

RdmaConnection::RdmaConnection(std::unique_ptr<Link> link, Registrar& registrar, std::shared_ptr<Registration> registration,
                               const Hello& hello, std::shared_ptr<SlotMemory> memory, Registered requests, Registered answers,
                               Registered pages, std::size_t credits)
    : memory_(std::move(memory)),
      registrar_(registrar),
      registration_(std::move(registration)),
      link_(std::move(link)),
      hello_(hello),
      peer_(link_->InUse() + " " + ToEndpoint(*rdma_get_peer_addr(&link_->id())).ToString()),
      page_size_(memory_->PageSize().value()),
      requests_(std::move(requests)),
      answers_(std::move(answers)),
      pages_(std::move(pages)),
      room_(pages_.bytes().size()),
      free_(credits) {
  std::iota(free_.begin(), free_.end(), std::size_t{0});
}

RdmaConnection::~RdmaConnection() = default;

std::uint32_t RdmaConnection::Events() const { return EPOLLIN; }

Status RdmaConnection::Receive(std::size_t index) {
  return link_->Receive(requests_.Part(Room(index), wire::kMaxRdmaRequestSize), index);
}

Status RdmaConnection::OnEvents(std::uint32_t) {
  unfinished_ = false;
  for (int rounds = 0; rounds < kMaxRounds; ++rounds) {
    HECA_ASSIGN_OR_RETURN(const auto completions, link_->Poll());
    for (const ibv_wc& completion : completions) HECA_RETURN_IF_ERROR(Take(completion));
    HECA_RETURN_IF_ERROR(Serve());
    HECA_RETURN_IF_ERROR(link_->Post());
    if (!completions.empty()) continue;
    HECA_ASSIGN_OR_RETURN(const bool again, link_->Rest());
    if (!again) return {};
  }
  unfinished_ = true;
  return {};
}

Status RdmaConnection::OnTick() {
  HECA_RETURN_IF_ERROR(CheckOwner(*memory_, hello_));
  registrar_.Follow(registration_, *memory_);
  return link_->FeelPulse();
}

Status RdmaConnection::Take(const ibv_wc& completion) {
  if (completion.opcode == IBV_WC_RECV) {
    waiting_.push_back({completion.wr_id, completion.byte_len});
    return {};
  }
  if (completion.wr_id == kFetched) return FinishWrite();
  room_.GiveBack(sent_.front().place);
  free_.push_back(sent_.front().index);
  sent_.pop_front();
  return {};
}

Status RdmaConnection::Serve() {
  while (!waiting_.empty() && !writing_) {
    HECA_ASSIGN_OR_RETURN(const bool served, ServeOne(waiting_.front()));
    if (!served) break;
    waiting_.pop_front();
  }
  return {};
}

Result<bool> RdmaConnection::ServeOne(const Received& received) {
  if (free_.empty()) return false;
  const auto bytes = std::span<const std::byte>(requests_.bytes()).subspan(Room(received.index), received.size);
  if (bytes.size() < wire::kLandingSize + wire::kMinRequestSize) {
    return Status(ErrorCode::kInvalidArgument, "the peer sent a request that is too short", ErrorScope::kConnection);
  }
  HECA_ASSIGN_OR_RETURN(const auto landing, wire::DecodeLanding(bytes.first<wire::kLandingSize>()));
  const auto request = bytes.subspan(wire::kLandingSize);
  HECA_ASSIGN_OR_RETURN(const auto header, wire::DecodeRequestHeader(request.first<wire::kRequestHeaderSize>()));
  HECA_RETURN_IF_ERROR(CheckRequest(header, hello_.role, page_size_));
  std::array<Slot, wire::kMaxBatch> list;
  HECA_RETURN_IF_ERROR(wire::DecodeSlots(header, request.subspan(wire::kRequestHeaderSize), list));
  HECA_RETURN_IF_ERROR(CheckOwner(*memory_, hello_));
  const auto slots = std::span<const Slot>(list).first(header.count);
  bool served = true;
  switch (header.kind) {
    case wire::RequestKind::kRead: {
      HECA_ASSIGN_OR_RETURN(served, ServeRead(header, slots, landing));
      break;
    }
    case wire::RequestKind::kWrite:
    case wire::RequestKind::kWriteAgain: {
      HECA_ASSIGN_OR_RETURN(served, BeginWrite(header, slots, landing));
      break;
    }
    case wire::RequestKind::kRelease: {
      const BatchOutcome outcome = ReleaseAll(*memory_, slots);
      Answer({outcome.code, 0, outcome.slot, header.id}, {});
      break;
    }
    case wire::RequestKind::kInvalid: break;
  }
  // Before the client can know that it has this credit again: the answer is not posted yet.
  if (served) HECA_RETURN_IF_ERROR(Receive(received.index));
  return served;
}

Result<bool> RdmaConnection::ServeRead(const wire::RequestHeader& header, std::span<const Slot> slots,
                                       const wire::RemoteMemory& landing) {
  const auto place = room_.Take(slots.size() * page_size_);
  if (!place) return false;
  std::array<std::span<const std::byte>, wire::kMaxBatch> pages;
  const BatchOutcome outcome = PagesForRead(*memory_, slots, pages);
  if (outcome.ok()) {
    for (std::size_t i = 0; i < slots.size(); ++i) {
      std::memcpy(pages_.bytes().data() + place->offset + i * page_size_, pages[i].data(), page_size_);
    }
    const std::size_t bytes = slots.size() * page_size_;
    link_->Write(pages_.Part(place->offset, bytes), landing, Link::kUnsignalled);
    Count(bytes_out_, bytes);
  }
  const auto count = static_cast<std::uint16_t>(outcome.ok() ? slots.size() : 0);
  Answer({outcome.code, count, outcome.slot, header.id}, *place);
  return true;
}

Result<bool> RdmaConnection::BeginWrite(const wire::RequestHeader& header, std::span<const Slot> slots,
                                        const wire::RemoteMemory& source) {
  const auto place = room_.Take(slots.size() * page_size_);
  if (!place) return false;
  auto writing = std::make_unique<Writing>();
  const Attempt attempt = header.kind == wire::RequestKind::kWriteAgain ? Attempt::kRepeated : Attempt::kFirst;
  const BatchOutcome outcome = LandingsForWrite(*memory_, slots, attempt, writing->landings);
  if (!outcome.ok()) {
    Answer({outcome.code, 0, outcome.slot, header.id}, *place);
    return true;
  }
  writing->id = header.id;
  writing->count = slots.size();
  std::copy(slots.begin(), slots.end(), writing->slots.begin());
  writing->place = *place;
  link_->Read(pages_.Part(place->offset, slots.size() * page_size_), source, kFetched);
  writing_ = std::move(writing);
  return true;
}

Status RdmaConnection::FinishWrite() {
  const auto writing = std::move(writing_);
  HECA_RETURN_IF_ERROR(CheckOwner(*memory_, hello_));
  for (std::size_t i = 0; i < writing->count; ++i) {
    const auto landing = writing->landings[i];
    if (!landing.empty()) std::memcpy(landing.data(), pages_.bytes().data() + writing->place.offset + i * page_size_, page_size_);
  }
  const auto slots = std::span<const Slot>(writing->slots).first(writing->count);
  Commit(*memory_, slots, std::span(writing->landings).first(writing->count));
  Count(bytes_in_, writing->count * page_size_);
  Answer({ErrorCode::kOk, 0, kNoSlot, writing->id}, writing->place);
  return {};
}

void RdmaConnection::Answer(const wire::Answer& answer, const PageRing::Place& place) {
  const std::size_t index = free_.back();
  free_.pop_back();
  sent_.push_back({place, index});
  const std::size_t at = index * wire::kAnswerSize;
  wire::Encode(answer, answers_.bytes().subspan(at).first<wire::kAnswerSize>());
  link_->Send(answers_.Part(at, wire::kAnswerSize), kAnswered);
}

ConnectionInfo RdmaConnection::Info() const {
  return {peer_, hello_.role, hello_.lease, bytes_in_.load(std::memory_order_relaxed),
          bytes_out_.load(std::memory_order_relaxed)};
}

}  // namespace heca::transport::rdma
