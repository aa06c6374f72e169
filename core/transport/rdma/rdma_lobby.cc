// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/rdma/rdma_lobby.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

#include "base/log.h"
#include "transport/admit.h"
#include "transport/rdma/manager.h"
#include "transport/rdma/rdma_connection.h"
#include "wire/rdma.h"

namespace heca::transport::rdma {
namespace {

constexpr int kBacklog = 64;

void Refuse(rdma_cm_id& id, const Status& why) {
  wire::HelloReply reply;
  reply.code = why.code();
  reply.text = why.message();
  std::array<std::byte, wire::kRdmaRefusalSize> said{};
  wire::EncodeRefusal(reply, said);
  rdma_reject(&id, said.data(), static_cast<std::uint8_t>(said.size()));
}

}  // namespace

Result<std::unique_ptr<RdmaLobby>> RdmaLobby::Create(const RdmaServerOptions& options, Admission& admission,
                                                     Registrar& registrar, Adopt adopt, Served served) {
  HECA_ASSIGN_OR_RETURN(auto events, OpenEvents());
  HECA_ASSIGN_OR_RETURN(auto listener, MakeId(*events));
  HECA_ASSIGN_OR_RETURN(auto address, Resolve(options.listen, true));
  if (rdma_bind_addr(listener.get(), reinterpret_cast<sockaddr*>(&address)) != 0) {
    return Status::FromErrno(errno, fmt::format("binding {} over RDMA", options.listen.ToString()));
  }
  if (rdma_listen(listener.get(), kBacklog) != 0) return Status::FromErrno(errno, "rdma_listen");
  HECA_ASSIGN_OR_RETURN(auto epoll, os::EpollSet::Create());
  HECA_RETURN_IF_ERROR(epoll.Add(events->fd, EPOLLIN, nullptr));
  return std::unique_ptr<RdmaLobby>(new RdmaLobby(std::move(events), std::move(listener), options, admission, registrar,
                                                  std::move(adopt), std::move(served), std::move(epoll)));
}

RdmaLobby::RdmaLobby(Owned<rdma_event_channel> events, Owned<rdma_cm_id> listener, const RdmaServerOptions& options,
                     Admission& admission, Registrar& registrar, Adopt adopt, Served served, os::EpollSet epoll)
    : events_(std::move(events)),
      listener_(std::move(listener)),
      options_(options),
      admission_(admission),
      registrar_(registrar),
      adopt_(std::move(adopt)),
      served_(std::move(served)),
      epoll_(std::move(epoll)),
      thread_([this] { Run(); }) {}

RdmaLobby::~RdmaLobby() {
  stop_ = true;
  epoll_.Wake();
  thread_.join();
}

Endpoint RdmaLobby::endpoint() const { return ToEndpoint(*rdma_get_local_addr(listener_.get())); }

void RdmaLobby::Run() {
  std::array<epoll_event, 4> room;
  while (!stop_.load(std::memory_order_relaxed)) {
    epoll_.Wait(room, false);
    while (true) {
      auto event = TakeEvent(*events_);
      if (!event.ok()) Log().error("nobody can connect over RDMA: {}", event.status().ToString());
      if (!event.ok() || *event == nullptr) break;
      Hear(std::move(*event));
    }
  }
}

void RdmaLobby::Hear(Event event) {
  if (event->event != RDMA_CM_EVENT_CONNECT_REQUEST) {
    Log().debug("RDMA listener: {}", rdma_event_str(event->event));
    return;
  }
  std::array<std::byte, 256> said{};
  const std::size_t size = std::min<std::size_t>(event->param.conn.private_data_len, said.size());
  std::copy_n(static_cast<const std::byte*>(event->param.conn.private_data), size, said.begin());
  Owned<rdma_cm_id> id(event->id);
  const std::string peer = ToEndpoint(*rdma_get_peer_addr(id.get())).ToString();
  event.reset();  // before the id changes its channel, or goes: both wait for it
  if (const Status decided = Decide(id, std::span(said).first(size)); !decided.ok()) {
    Log().info("{} refused over RDMA: {}", peer, decided.ToString());
    if (id) Refuse(*id, decided);
  }
}

Status RdmaLobby::Decide(Owned<rdma_cm_id>& id, std::span<const std::byte> said) {
  HECA_ASSIGN_OR_RETURN(const auto heard, wire::DecodeRdmaHello(said));
  const Hello hello{heard.hello.token, heard.hello.lease, heard.hello.epoch, heard.hello.role};
  HECA_ASSIGN_OR_RETURN(auto memory, Admit(admission_, hello, served_(), options_.max_connections));
  HECA_ASSIGN_OR_RETURN(auto events, OpenEvents());
  HECA_ASSIGN_OR_RETURN(auto registration, registrar_.Of(*id->verbs, hello.lease, *memory));
  // Last of all that can fail here: a refusal goes over the id's channel, which must be there still.
  if (rdma_migrate_id(id.get(), events.get()) != 0) return Status::FromErrno(errno, "rdma_migrate_id");
  auto link = std::make_unique<Link>(std::move(events), std::move(id), registration->domain());
  Status begun = Begin(link, hello, std::move(registration), std::move(memory), heard.pulse);
  if (!begun.ok() && link) Refuse(link->id(), begun);
  return begun;
}

Status RdmaLobby::Begin(std::unique_ptr<Link>& link, const Hello& hello, std::shared_ptr<Registration> registration,
                        std::shared_ptr<SlotMemory> memory, const wire::RemoteMemory& their_pulse) {
  wire::RdmaReply reply;
  const std::uint16_t credits = hello.role == Role::kUrgent ? options_.urgent_credits : options_.bulk_credits;
  reply.reply = Grant(*memory, credits, options_.window_bytes);
  reply.directory = registration->directory();
  HECA_RETURN_IF_ERROR(link->Open({2U * credits + 2, credits}));
  reply.pulse = link->OurPulse();
  HECA_ASSIGN_OR_RETURN(auto connection, RdmaConnection::Make(link, registrar_, std::move(registration), hello,
                                                              std::move(memory), reply.reply));
  std::array<std::byte, wire::kRdmaReplySize> answer{};
  wire::Encode(reply, answer);
  auto parameters = connection->link().Parameters(answer);
  if (rdma_accept(&connection->link().id(), &parameters) != 0) return Status::FromErrno(errno, "rdma_accept");
  connection->link().Connected(their_pulse);
  adopt_(hello.role, std::move(connection));
  return {};
}

}  // namespace heca::transport::rdma
