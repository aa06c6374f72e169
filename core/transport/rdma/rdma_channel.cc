// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/rdma/rdma_channel.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "transport/rdma/manager.h"

namespace heca::transport::rdma {
namespace {

/// Rounds of completions in one Poll: the caller has other things to do.
constexpr int kMaxRounds = 16;
/// How long a new connection waits until the server has registered something. A lease of usual size is done by then; for as long as
/// a large one is not, the server is asked.
constexpr Millis kMoment{200};
constexpr int kLookMs = 10;  ///< how often it looks at the time meanwhile
/// How often the peer's pulse is thought of.
constexpr int kTickMs = 250;
constexpr std::uint64_t kAskedTag = 2;      ///< of a request to the server: only that the send queue has room counts
/// Places of the send queue: enough for a page each of what an urgent channel may have in flight, twice.
constexpr std::uint32_t kSends = 1024;

void Count(std::atomic<std::uint64_t>& counter, std::size_t bytes) {
  counter.store(counter.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
}

std::string Description(const Link& link, Role role) {
  return fmt::format("rdma {} {} -> {} {}", link.InUse(),
                     ToEndpoint(*rdma_get_local_addr(&link.id())).ToString(),
                     ToEndpoint(*rdma_get_peer_addr(&link.id())).ToString(), RoleName(role));
}

}  // namespace

std::size_t RingBytes(const wire::HelloReply& granted) {
  const std::size_t largest = std::size_t{granted.max_batch} * granted.page_size;
  // An operation that does not fit before the ring's end leaves that end empty.
  return std::max<std::size_t>(granted.window_bytes, largest) + largest;
}

Depth RdmaChannel::MostDepth() { return {kSends + 1, wire::kMaxCredits}; }  // the directory

Result<Registered> RdmaChannel::MakeAnswers(Link& link) {
  HECA_ASSIGN_OR_RETURN(auto answers, Registered::Make(link.domain(), wire::kMaxCredits * wire::kAnswerSize, Reach::kLocal));
  for (std::size_t i = 0; i < wire::kMaxCredits; ++i) {
    HECA_RETURN_IF_ERROR(link.Receive(answers.Part(i * wire::kAnswerSize, wire::kAnswerSize), i));
  }
  return answers;
}

Result<std::unique_ptr<RdmaChannel>> RdmaChannel::Make(std::unique_ptr<Link> link, Registered answers, Role role,
                                                       const wire::RdmaReply& granted, std::shared_ptr<MarkBook> book,
                                                       Deadline deadline) {
  const wire::HelloReply& reply = granted.reply;
  HECA_ASSIGN_OR_RETURN(auto requests, Registered::Make(link->domain(), reply.credits * wire::kMaxRdmaRequestSize,
                                                        Reach::kLocal));
  HECA_ASSIGN_OR_RETURN(auto pages, Registered::Make(link->domain(), RingBytes(reply), Reach::kPeerReadsAndWrites));
  std::unique_ptr<RdmaChannel> channel(new RdmaChannel(std::move(link), std::move(answers), std::move(requests),
                                                       std::move(pages), role, reply));
  if (granted.directory.key != 0) {
    HECA_RETURN_IF_ERROR(channel->LoadDirectory(granted.directory, std::move(book), deadline));
  }
  return channel;
}

RdmaChannel::RdmaChannel(std::unique_ptr<Link> link, Registered answers, Registered requests, Registered pages, Role role,
                         const wire::HelloReply& granted)
    : link_(std::move(link)),
      role_(role),
      page_size_(granted.page_size),
      max_batch_(granted.max_batch),
      window_(granted.window_bytes),
      description_(Description(*link_, role)),
      answers_(std::move(answers)),
      requests_(std::move(requests)),
      pages_(std::move(pages)),
      room_(pages_.bytes().size()),
      ring_(granted.credits) {}

Status RdmaChannel::LoadDirectory(const wire::RemoteMemory& directory, std::shared_ptr<MarkBook> book, Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(directory_, SlotDirectory::Make(*link_, directory, page_size_.value()));
  HECA_ASSIGN_OR_RETURN(one_sided_, OneSided::Make(*link_, pages_, source_, std::move(book), page_size_.value(), ring_.size()));
  const Deadline moment = Deadline::After(kMoment);
  directory_->Want();
  while (true) {
    directory_->Ask();
    HECA_RETURN_IF_ERROR(link_->Post());
    HECA_ASSIGN_OR_RETURN(const auto completions, link_->Poll());
    for (const ibv_wc& completion : completions) HECA_RETURN_IF_ERROR(Take(completion));
    if (directory_->resting()) {
      if (!directory_->empty() || moment.Passed()) return {};
      directory_->Want();
    }
    if (!completions.empty()) continue;
    if (deadline.Passed()) {
      return Status(ErrorCode::kDeadlineExceeded, "the directory of the lease did not come", ErrorScope::kConnection);
    }
    HECA_ASSIGN_OR_RETURN(const bool again, link_->Rest());
    pollfd entry{link_->fd(), POLLIN, 0};
    if (!again) ::poll(&entry, 1, std::min(kLookMs, deadline.LeftMs()));
  }
}

void RdmaChannel::WritesFrom(std::span<const std::byte> memory) {
  if (!one_sided_) return;
  auto source = Source::Make(link_->domain(), memory);
  if (source.ok()) {
    source_ = std::move(*source);
  } else {
    Log().info("{}: pages are copied before they are written: {}", description_, source.status().ToString());
  }
}

Status RdmaChannel::Read(OpTag tag, std::span<const Slot> slots) {
  HECA_RETURN_IF_ERROR(CheckOperation(Operation::kRead, role_, slots, max_batch_));
  return Start(Operation::kRead, tag, slots, {}, Attempt::kFirst);
}

Status RdmaChannel::Write(OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages, Attempt attempt) {
  HECA_RETURN_IF_ERROR(CheckWrite(role_, slots, pages, attempt, page_size_, max_batch_));
  return Start(Operation::kWrite, tag, slots, pages, attempt);
}

Status RdmaChannel::Release(OpTag tag, std::span<const Slot> slots) {
  HECA_RETURN_IF_ERROR(CheckOperation(Operation::kRelease, role_, slots, max_batch_));
  return Start(Operation::kRelease, tag, slots, {}, Attempt::kFirst);
}

Status RdmaChannel::Start(Operation operation, OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages,
                          Attempt attempt) {
  if (!failed_.ok()) return failed_;
  const std::size_t payload = operation == Operation::kRelease ? 0 : slots.size() * page_size_.value();
  const bool alone = one_sided_ && one_sided_->Covers(slots);
  if (one_sided_ && !alone) directory_->Want();
  const std::size_t requests = alone ? one_sided_->RequestsFor(slots) : 1;
  const bool full = started_ - done_ == ring_.size() || requests_in_flight_ + requests > kSends ||
                    (payload_in_flight_ != 0 && payload_in_flight_ + payload > window_);
  const bool copied = !alone || !source_.Has(pages);
  const auto place = full ? std::optional<PageRing::Place>() : room_.Take(copied ? payload : 0);
  if (!place) return {ErrorCode::kBusy, "all credits of the connection are in use"};
  if (copied && !pages.empty()) std::memcpy(pages_.bytes().data() + place->offset, pages.data(), pages.size());
  OperationInFlight& op = At(started_);
  op.tag = tag;
  op.id = wire::RequestId(started_ + 1);
  op.operation = operation;
  op.attempt = attempt;
  op.stage = Stage::kWaiting;
  op.alone = alone;
  op.payload = payload;
  op.place = *place;
  op.source = copied ? std::span<const std::byte>() : pages;
  op.requests = requests;
  op.count = slots.size();
  std::copy(slots.begin(), slots.end(), op.slots.begin());
  op.outcome = {};
  ++started_;
  payload_in_flight_ += payload;
  requests_in_flight_ += requests;
  Status begun = Begin(started_ - 1);
  if (begun.ok()) begun = link_->Post();
  if (!begun.ok()) {
    --started_;
    failed_ = begun.WithContext(description_);
  }
  return failed_;
}

Status RdmaChannel::Begin(std::uint64_t position) {
  OperationInFlight& op = At(position);
  if (op.changes() && MustWait(position)) return {};
  if (op.alone) return one_sided_->Begin(op, position % ring_.size());
  op.stage = Stage::kAsked;
  Ask(position);
  return {};
}

bool RdmaChannel::MustWait(std::uint64_t position) {
  for (std::uint64_t before = done_; before != position; ++before) {
    const OperationInFlight& op = At(before);
    if (!op.changes() || op.stage == Stage::kFinished) continue;
    if (op.stage == Stage::kLooking || op.stage == Stage::kWaiting || op.alone != At(position).alone) return true;
  }
  return false;
}

Status RdmaChannel::Advance() {
  for (std::uint64_t position = done_; position != started_; ++position) {
    if (At(position).stage != Stage::kWaiting) continue;
    HECA_RETURN_IF_ERROR(Begin(position));
    if (At(position).stage == Stage::kWaiting) return {};
  }
  return {};
}

void RdmaChannel::Ask(std::uint64_t position) {
  const OperationInFlight& op = At(position);
  auto kind = wire::RequestKind::kRead;
  if (op.operation == Operation::kRelease) kind = wire::RequestKind::kRelease;
  if (op.operation == Operation::kWrite) {
    kind = op.attempt == Attempt::kRepeated ? wire::RequestKind::kWriteAgain : wire::RequestKind::kWrite;
  }
  const std::size_t at = position % ring_.size() * wire::kMaxRdmaRequestSize;
  const auto request = requests_.bytes().subspan(at).first<wire::kMaxRdmaRequestSize>();
  wire::Encode(op.payload == 0 ? wire::RemoteMemory{} : pages_.Remote(op.place.offset), request.first<wire::kLandingSize>());
  const std::size_t size = wire::EncodeRequest(kind, op.id, op.Slots(), request.last<wire::kMaxRequestSize>());
  // A completion now and then keeps the send queue from filling up: its requests are over long before, but not told of.
  const bool told = op.id.value() % ring_.size() == 0;
  link_->Send(requests_.Part(at, wire::kLandingSize + size), told ? kAskedTag : Link::kUnsignalled);
}

Status RdmaChannel::Poll(ChannelSink& sink) {
  DeliverFinished(sink);  // what was over at its start
  for (int rounds = 0; failed_.ok() && rounds < kMaxRounds; ++rounds) {
    auto found = PollOnce(sink);
    if (found.ok() && !*found) {
      found = link_->Rest();  // armed now: what came in between would not be told of
      if (found.ok() && !*found) break;
    }
    if (!found.ok()) failed_ = found.status().WithContext(description_);
  }
  return failed_;
}

Result<bool> RdmaChannel::PollOnce(ChannelSink& sink) {
  HECA_ASSIGN_OR_RETURN(const auto completions, link_->Poll());
  for (const ibv_wc& completion : completions) HECA_RETURN_IF_ERROR(Take(completion));
  if (completions.empty()) return false;
  if (one_sided_) {
    HECA_RETURN_IF_ERROR(Advance());
    directory_->Ask();
  }
  HECA_RETURN_IF_ERROR(link_->Post());
  DeliverFinished(sink);
  return true;
}

Status RdmaChannel::Take(const ibv_wc& completion) {
  if (completion.opcode == IBV_WC_RECV) return TakeAnswer(completion);
  if (completion.wr_id == SlotDirectory::kTag) {
    HECA_ASSIGN_OR_RETURN(auto more, directory_->Take());
    if (more) one_sided_->Learn(std::move(*more));
    return {};
  }
  if (!IsOperation(completion.wr_id)) return {};
  const std::size_t index = IndexOf(completion.wr_id);
  return one_sided_->Go(ring_[index], index);
}

Status RdmaChannel::TakeAnswer(const ibv_wc& completion) {
  const std::size_t at = completion.wr_id * wire::kAnswerSize;
  const auto bytes = answers_.bytes().subspan(at).first<wire::kAnswerSize>();
  if (completion.byte_len != wire::kAnswerSize) {
    return {ErrorCode::kInvalidArgument, "the server sent an answer of another size", ErrorScope::kConnection};
  }
  HECA_ASSIGN_OR_RETURN(const auto answer, wire::DecodeAnswer(bytes));
  HECA_RETURN_IF_ERROR(link_->Receive(answers_.Part(at, wire::kAnswerSize), completion.wr_id));
  const std::uint64_t position = answer.id.value() - 1;
  const bool awaited = position >= done_ && position < started_ && At(position).stage == Stage::kAsked;
  const std::size_t pages = awaited && At(position).operation == Operation::kRead ? At(position).count : 0;
  if (!awaited || (answer.code == ErrorCode::kOk && answer.pages != pages)) {
    return {ErrorCode::kInternal, fmt::format("the server answered request {} with {} pages, which was not asked",
                                              answer.id.value(), answer.pages), ErrorScope::kConnection};
  }
  At(position).Finish({answer.code, answer.slot});
  return {};
}

void RdmaChannel::DeliverFinished(ChannelSink& sink) {
  while (failed_.ok() && done_ != started_ && At(done_).stage == Stage::kFinished) Deliver(sink);
}

void RdmaChannel::Deliver(ChannelSink& sink) {
  const OperationInFlight& op = At(done_);
  const Status status = op.outcome.ok() ? Status() : Explain(op.operation, op.outcome);
  const bool read = op.operation == Operation::kRead;
  const auto pages =
      std::span<const std::byte>(pages_.bytes()).subspan(op.place.offset, read && status.ok() ? op.payload : 0);
  if (status.ok()) Count(read ? bytes_read_ : bytes_written_, op.payload);
  payload_in_flight_ -= op.payload;
  requests_in_flight_ -= op.requests;
  // The sink may start operations, which may take this credit, but not this place in the ring of pages.
  const OpTag tag = op.tag;
  const PageRing::Place place = op.place;
  const Operation operation = op.operation;
  ++done_;
  switch (operation) {
    case Operation::kRead: sink.OnRead(tag, status, pages); break;
    case Operation::kWrite: sink.OnWritten(tag, status); break;
    case Operation::kRelease: sink.OnReleased(tag, status); break;
    case Operation::kInvalid: break;
  }
  room_.GiveBack(place);
}

PollNeed RdmaChannel::Need() const {
  // Not armed: Poll stopped only for its caller's sake. Finished: it was over at its start.
  const bool finished = done_ != started_ && ring_[done_ % ring_.size()].stage == Stage::kFinished;
  return {link_->fd(), EPOLLIN, link_->armed() && !finished ? kTickMs : 0};
}

Channel::Traffic RdmaChannel::Moved() const {
  return {bytes_read_.load(std::memory_order_relaxed), bytes_written_.load(std::memory_order_relaxed)};
}

}  // namespace heca::transport::rdma
