// SPDX-License-Identifier: LGPL-2.1-or-later
// A QMP server whose answers the test writes: for what a real QEMU does not do on request.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "base/unique_fd.h"
#include "guest/json.h"

namespace heca::guest::testing {

/// A QMP server whose answers the test writes. As QEMU, it serves one client after the other.
class FakeQmp {
 public:
  /// What is sent back for a request, events too; "close" closes the connection.
  using Answer = std::function<std::string(const Json& request)>;

  explicit FakeQmp(std::string greeting, Answer answer) : greeting_(std::move(greeting)), answer_(std::move(answer)) {
    char dir[] = "/tmp/heca-qmp-test-XXXXXX";
    EXPECT_NE(::mkdtemp(dir), nullptr);
    dir_ = dir;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, Path().c_str(), sizeof address.sun_path - 1);
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    thread_ = std::thread([this] { Serve(); });
  }
  ~FakeQmp() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
      if (client_) ::shutdown(client_.get(), SHUT_RDWR);
    }
    thread_.join();
    ::unlink(Path().c_str());
    ::rmdir(dir_.c_str());
  }
  [[nodiscard]] std::string Path() const { return dir_ + "/s"; }
  /// Sends an event that no request has caused. Lost if nobody is connected.
  void Say(const Json& event) {
    const std::lock_guard lock(mutex_);
    if (client_) Write(client_, event.dump() + "\r\n");
  }

 private:
  void Serve() {
    for (;;) {
      unique_fd client(::accept(listener_.get(), nullptr, nullptr));
      if (!client) return;
      const int socket = client.get();
      {
        const std::lock_guard lock(mutex_);
        if (ending_) return;
        client_ = std::move(client);
        Write(client_, greeting_);
      }
      ServeOne(socket);
      const std::lock_guard lock(mutex_);
      client_.reset();
    }
  }
  void ServeOne(int socket) {
    std::string buffer;
    char chunk[4096];
    for (;;) {
      const ssize_t got = ::read(socket, chunk, sizeof chunk);
      if (got <= 0) return;
      buffer.append(chunk, static_cast<std::size_t>(got));
      for (std::size_t end; (end = buffer.find('\n')) != std::string::npos; buffer.erase(0, end + 1)) {
        const std::string answer = answer_(Json::parse(buffer.substr(0, end)));
        if (answer == "close") return;
        const std::lock_guard lock(mutex_);
        Write(client_, answer);
      }
    }
  }
  static void Write(const unique_fd& to, const std::string& text) {
    // In two parts, so that messages arrive cut.
    const std::size_t half = text.size() / 2;
    (void)::send(to.get(), text.data(), half, MSG_NOSIGNAL);  // a client may have left without waiting for it
    (void)::send(to.get(), text.data() + half, text.size() - half, MSG_NOSIGNAL);
  }

  std::string greeting_;
  Answer answer_;
  std::string dir_;
  unique_fd listener_;
  std::mutex mutex_;  ///< of client_, and of what is sent to it
  unique_fd client_;
  bool ending_ = false;
  std::thread thread_;
};

inline constexpr const char* kGreeting =
    "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}}, "
    "\"capabilities\": [\"oob\"]}}\r\n";

inline std::string Return(const Json& request, const Json& value = Json::object()) {
  return Json{{"return", value}, {"id", request["id"]}}.dump() + "\r\n";
}

}  // namespace heca::guest::testing
