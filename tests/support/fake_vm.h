// SPDX-License-Identifier: LGPL-2.1-or-later
// A QEMU in a live migration as its monitor shows it: run state, capabilities, and the state of the stream, which moves when
// the test says so. Memory it has none. Any command can be made to get no answer.
#pragma once

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "support/fake_qmp.h"

namespace heca::guest::testing {

/// Thread-safe.
class FakeVm {
 public:
  explicit FakeVm(std::string run_state = "running") : run_state_(std::move(run_state)) {}

  [[nodiscard]] std::string Path() const { return server_.Path(); }

  /// The stream gets there by itself, with its event.
  void Stream(const std::string& status) {
    {
      const std::lock_guard lock(mutex_);
      stream_ = status;
    }
    server_.Say(StreamEvent(status));
  }
  /// As after the last byte of device state, or after `cont`.
  void Resume() {
    {
      const std::lock_guard lock(mutex_);
      run_state_ = "running";
    }
    server_.Say({{"event", "RESUME"}});
  }
  void SetRunState(const std::string& state) {
    const std::lock_guard lock(mutex_);
    run_state_ = state;
  }
  /// What it answers to query-cpus-fast.
  void SetVcpus(Json::array_t vcpus) {
    const std::lock_guard lock(mutex_);
    vcpus_ = std::move(vcpus);
  }
  /// It carries the command out the next time, and does not answer.
  void LoseAnswerTo(const std::string& command) {
    const std::lock_guard lock(mutex_);
    silent_.insert(command);
  }
  /// It carries out and answers the command, once, when the one behind it comes.
  void BeLateWith(const std::string& command) {
    const std::lock_guard lock(mutex_);
    late_.insert(command);
  }
  /// It refuses the command from now on.
  void Refuse(const std::string& command) {
    const std::lock_guard lock(mutex_);
    refused_.insert(command);
  }
  void Allow(const std::string& command) {
    const std::lock_guard lock(mutex_);
    for (auto* const set : {&silent_, &late_, &refused_}) set->erase(command);
  }
  /// The stream that is cancelled has completed a moment before.
  void CompleteInsteadOfCancelling() {
    const std::lock_guard lock(mutex_);
    cancel_comes_late_ = true;
  }

  [[nodiscard]] bool Capability(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    const auto found = capabilities_.find(name);
    return found != capabilities_.end() && found->second;
  }
  [[nodiscard]] std::string RunState() const {
    const std::lock_guard lock(mutex_);
    return run_state_;
  }
  /// How often a command has come.
  [[nodiscard]] std::size_t Asked(const std::string& command) const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(std::count(asked_.begin(), asked_.end(), command));
  }

 private:
  static Json StreamEvent(const std::string& status) { return {{"event", "MIGRATION"}, {"data", {{"status", status}}}}; }
  static std::string Line(const Json& json) { return json.dump() + "\r\n"; }

  std::string Answer(const Json& request) {
    const std::lock_guard lock(mutex_);
    std::string text;
    for (const Json& held : std::exchange(held_, {})) text += CarryOut(held);
    const std::string command = request["execute"];
    asked_.push_back(command);
    if (late_.erase(command) > 0) {
      held_.push_back(request);
      return text;
    }
    if (refused_.contains(command)) {
      return text + Line({{"error", {{"class", "GenericError"}, {"desc", command + " is refused"}}}, {"id", request["id"]}});
    }
    const std::string answer = CarryOut(request);
    return silent_.erase(command) > 0 ? text : text + answer;
  }

  /// With the lock held. Events come before the answer.
  std::string CarryOut(const Json& request) {
    const std::string command = request["execute"];
    const Json arguments = request.value("arguments", Json::object());
    if (command == "query-status") return Return(request, {{"status", run_state_}});
    if (command == "query-cpus-fast") return Return(request, vcpus_);
    if (command == "query-migrate") return Return(request, stream_ == "none" ? Json::object() : Json{{"status", stream_}});
    if (command == "query-migrate-capabilities") {
      Json all = Json::array();
      for (const auto& [name, on] : capabilities_) all.push_back({{"capability", name}, {"state", on}});
      return Return(request, all);
    }
    if (command == "migrate-set-capabilities") {
      for (const Json& one : arguments["capabilities"]) capabilities_[one["capability"]] = one["state"];
      return Return(request);
    }
    if (command == "migrate") return Enter("active") + Return(request);
    if (command == "migrate_cancel") return Cancel() + Return(request);
    if (command == "cont") {
      run_state_ = "running";
      return Line({{"event", "RESUME"}}) + Return(request);
    }
    return Return(request);
  }
  std::string Enter(const std::string& status) {
    stream_ = status;
    return Line(StreamEvent(status));
  }
  std::string Cancel() {
    if (stream_ != "active" && stream_ != "pre-switchover" && stream_ != "device") return "";
    if (cancel_comes_late_) return Enter("completed");
    if (run_state_ == "finish-migrate") run_state_ = "running";
    return Enter("cancelled");
  }

  mutable std::mutex mutex_;
  std::string run_state_;
  std::string stream_ = "none";
  bool cancel_comes_late_ = false;
  std::map<std::string, bool> capabilities_;
  std::set<std::string> silent_, late_, refused_;
  Json vcpus_ = Json::array();
  std::vector<Json> held_;
  std::vector<std::string> asked_;
  FakeQmp server_{kGreeting, [this](const Json& request) { return Answer(request); }};  ///< last: it calls the rest
};

}  // namespace heca::guest::testing
