// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/qmp.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace heca::guest {
namespace {

/// Longer than any answer of QEMU seen (a few hundred KiB); a peer that sends more is no QEMU.
constexpr std::size_t kMaxLine = 32U << 20;
/// Events that nobody took yet; more are dropped, oldest first, with a log line.
constexpr std::size_t kMaxEvents = 4096;

Status ErrorOf(std::string_view command, const Json& reply) {
  const Json& error = Member(reply, "error");
  const std::string kind = TextOf(error, "class");
  const std::string text = TextOf(error, "desc");
  const bool missing = kind == "CommandNotFound" || kind == "DeviceNotFound";
  return Status(missing ? ErrorCode::kNotFound : ErrorCode::kFailedPrecondition,
                "QEMU's answer to " + std::string(command) + ": " + text);
}

Result<unique_fd> ConnectSocket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Status(ErrorCode::kInvalidArgument, "the QMP socket's path is longer than 107 bytes: " + path);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  unique_fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return Status::FromErrno(errno, "socket");
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return socket;
  if (errno == EAGAIN) {
    return Status(ErrorCode::kBusy, "the QMP socket " + path + " has another client and a full queue");
  }
  return Status::FromErrno(errno, "cannot connect to the QMP socket " + path);
}

}  // namespace

Result<std::unique_ptr<Qmp>> Qmp::Connect(const std::string& socket_path, Deadline deadline, Listener listener) {
  HECA_ASSIGN_OR_RETURN(unique_fd socket, ConnectSocket(socket_path));
  std::unique_ptr<Qmp> qmp(new Qmp(socket_path, std::move(socket)));
  if (!qmp->wake_) return Status::FromErrno(errno, "eventfd");
  if (listener) qmp->listeners_.push_back(std::move(listener));
  qmp->reader_ = std::thread([raw = qmp.get()] { raw->Read(); });
  qmp->dispatcher_ = std::thread([raw = qmp.get()] { raw->Dispatch(); });
  {
    std::unique_lock lock(qmp->mutex_);
    qmp->changed_.wait_until(lock, deadline.when(), [&] { return qmp->greeted_ || qmp->closed_; });
    if (qmp->closed_) {
      return Status(ErrorCode::kUnavailable, socket_path + " closed the connection without a QMP greeting");
    }
    if (!qmp->greeted_) {
      return Status(ErrorCode::kDeadlineExceeded,
                    socket_path + " gave no QMP greeting: it serves one client at a time and another one has it "
                                  "(a second hecad?), or QEMU does not answer");
    }
  }
  HECA_RETURN_IF_ERROR(qmp->Execute("qmp_capabilities", Json::object(), deadline).status());
  return qmp;
}

std::vector<std::thread::native_handle_type> Qmp::Threads() { return {reader_.native_handle(), dispatcher_.native_handle()}; }

Qmp::Qmp(std::string path, unique_fd socket)
    : path_(std::move(path)), socket_(std::move(socket)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Qmp::~Qmp() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (wake_) {
    const std::uint64_t one = 1;
    // An eventfd write of 1 fails only at 2^64 - 1 pending.
    [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
  }
  if (reader_.joinable()) reader_.join();
  if (dispatcher_.joinable()) dispatcher_.join();
}

bool Qmp::Connected() const {
  const std::lock_guard lock(mutex_);
  return !closed_;
}

std::uint64_t Qmp::EventsReceived() const {
  const std::lock_guard lock(mutex_);
  return events_received_;
}

void Qmp::AddListener(Listener listener) {
  const std::lock_guard lock(mutex_);
  listeners_.push_back(std::move(listener));
}

Result<Json> Qmp::Execute(std::string_view command, const Json& arguments, Deadline deadline, int fd) {
  Waiter waiter;
  std::uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return Status(ErrorCode::kUnavailable, "the QMP connection to " + path_ + " is closed");
    id = next_id_++;
    waiters_[id] = &waiter;
  }
  Json message{{"execute", command}, {"id", id}};
  if (!arguments.empty()) message["arguments"] = arguments;
  const Status sent = Send(message.dump() + "\n", fd, deadline);
  std::unique_lock lock(mutex_);
  if (sent.ok()) {
    changed_.wait_until(lock, deadline.when(), [&] { return waiter.done || closed_; });
  }
  waiters_.erase(id);
  if (!sent.ok()) return sent;
  if (!waiter.done) {
    if (closed_) {
      return Status(ErrorCode::kUnavailable, "QEMU closed the QMP connection " + path_ + " before it answered " +
                                                 std::string(command));
    }
    return Status(ErrorCode::kDeadlineExceeded, "QEMU did not answer " + std::string(command) + " in time");
  }
  lock.unlock();
  if (waiter.reply.contains("error")) return ErrorOf(command, waiter.reply);
  return std::move(waiter.reply["return"]);
}

Result<std::string> Qmp::HumanCommand(const std::string& line, Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(const Json text, Execute("human-monitor-command", {{"command-line", line}}, deadline));
  if (!text.is_string()) return Status(ErrorCode::kInternal, "QEMU's answer to '" + line + "' is not text");
  return text.get<std::string>();
}

Status Qmp::Send(const std::string& text, int fd, Deadline deadline) {
  const std::unique_lock sending(send_mutex_);
  std::size_t sent = 0;
  while (sent < text.size()) {
    iovec part{const_cast<char*>(text.data()) + sent, text.size() - sent};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    if (fd >= 0 && sent == 0) {  // the descriptor goes with the first byte
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    const ssize_t n = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (n >= 0) {
      sent += static_cast<std::size_t>(n);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return Status(ErrorCode::kUnavailable, "the QMP connection to " + path_ + " is closed");
    pollfd writable{socket_.get(), POLLOUT, 0};
    if (deadline.Passed() || ::poll(&writable, 1, deadline.LeftMs()) == 0) {
      // Half a message cannot be taken back: the connection is of no use any more.
      if (sent > 0) ::shutdown(socket_.get(), SHUT_RDWR);
      return Status(ErrorCode::kDeadlineExceeded, "QEMU does not read its QMP socket " + path_);
    }
  }
  return Status();
}

void Qmp::Read() {
  std::string buffer;
  char chunk[65536];
  for (;;) {
    pollfd need[2] = {{socket_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    if (::poll(need, 2, -1) < 0 && errno != EINTR) break;
    if (need[1].revents != 0) break;
    const ssize_t got = ::recv(socket_.get(), chunk, sizeof chunk, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) break;
    const std::size_t searched = buffer.size();
    buffer.append(chunk, static_cast<std::size_t>(got));
    if (buffer.size() > kMaxLine) break;
    std::size_t begin = 0;
    for (std::size_t end = buffer.find('\n', searched); end != std::string::npos; end = buffer.find('\n', begin)) {
      OnLine(std::string_view(buffer).substr(begin, end - begin));
      begin = end + 1;
    }
    buffer.erase(0, begin);
  }
  OnClosed();
}

void Qmp::OnClosed() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

void Qmp::OnLine(std::string_view line) {
  Json message = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!message.is_object()) return;
  const std::lock_guard lock(mutex_);
  if (const auto greeting = message.find("QMP"); greeting != message.end()) {
    const Json& version = Member(Member(*greeting, "version"), "qemu");
    version_ = static_cast<int>(NumberOf(version, "major") * 10000 + NumberOf(version, "minor") * 100 +
                                NumberOf(version, "micro"));
    greeted_ = true;
  } else if (message.contains("event") && message["event"].is_string()) {
    if (events_.size() == kMaxEvents) {
      Log().warn("QMP {}: an event was dropped, its listeners are {} behind", path_, kMaxEvents);
      events_.pop_front();
    }
    events_.push_back({message["event"].get<std::string>(), Member(message, "data"), ++events_received_});
  } else if (const auto id = message.find("id"); id != message.end() && id->is_number_unsigned()) {
    const auto waiter = waiters_.find(id->get<std::uint64_t>());
    if (waiter == waiters_.end()) return;  // its caller has given up
    waiter->second->reply = std::move(message);
    waiter->second->done = true;
  }
  changed_.notify_all();
}

void Qmp::Dispatch() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || !events_.empty(); });
    if (ending_) return;
    const QmpEvent event = std::move(events_.front());
    events_.pop_front();
    const std::vector<Listener> listeners = listeners_;
    lock.unlock();
    for (const Listener& listener : listeners) listener(event);
    lock.lock();
  }
}

}  // namespace heca::guest
