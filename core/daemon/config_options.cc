// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/config_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <utility>

#include "base/size.h"

namespace heca::daemon {
namespace {

Status Bad(std::string text) { return {ErrorCode::kInvalidArgument, std::move(text)}; }

std::optional<std::uint64_t> ParseNumber(std::string_view text, int base = 10) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Status CheckPath(std::string_view text) {
  if (text.empty() || text.front() != '/') return Bad(fmt::format("'{}' is not an absolute path", text));
  return Status();
}

/// sun_path holds 108 bytes with its final zero.
Status CheckSocketPath(std::string_view text) {
  HECA_RETURN_IF_ERROR(CheckPath(text));
  if (text.size() > 107)
    return Bad(fmt::format("'{}' is longer than the 107 bytes of a unix socket's path", text));
  return Status();
}

Status Anything(std::string_view) { return Status(); }

Status EmptyOrName(std::string_view text) { return text.empty() ? Status() : CheckName(text); }

using Check = Status (*)(std::string_view);

struct Words {
  std::string_view key, group, value, help;
};

Option Text(const Words& words, std::string Config::*member, Check check) {
  return {words.key,
          words.group,
          words.value,
          words.help,
          ValueKind::kText,
          [member, check](Config& config, std::string_view text) {
            HECA_RETURN_IF_ERROR(check(text));
            config.*member = text;
            return Status();
          },
          [member](const Config& config) { return config.*member; }};
}

/// As Text, where "off" stands for the empty value.
Option TextOrOff(const Words& words, std::string Config::*member, Check check) {
  return {words.key,
          words.group,
          words.value,
          words.help,
          ValueKind::kText,
          [member, check](Config& config, std::string_view text) {
            if (text != "off") HECA_RETURN_IF_ERROR(check(text));
            config.*member = text == "off" ? "" : text;
            return Status();
          },
          [member](const Config& config) {
            return (config.*member).empty() ? std::string("off") : config.*member;
          }};
}

Option Switch(const Words& words, bool Config::*member) {
  return {words.key,
          words.group,
          words.value,
          words.help,
          ValueKind::kSwitch,
          [member](Config& config, std::string_view text) {
            const bool on = text == "true" || text == "on";
            if (!on && text != "false" && text != "off")
              return Bad(fmt::format("'{}' is neither on nor off", text));
            config.*member = on;
            return Status();
          },
          [member](const Config& config) { return std::string(config.*member ? "true" : "false"); }};
}

Option Size(const Words& words, Bytes Config::*member, Bytes least, Bytes most, Bytes unit) {
  return {words.key,
          words.group,
          words.value,
          words.help,
          ValueKind::kSize,
          [=](Config& config, std::string_view text) {
            HECA_ASSIGN_OR_RETURN(const Bytes size, ParseSize(text));
            if (size < least || size > most) {
              return Bad(fmt::format("{} is out of range: give {} to {}", text, FormatSizeExact(least),
                                     FormatSizeExact(most)));
            }
            if (size.value() % unit.value() != 0) {
              return Bad(fmt::format("{} is not a multiple of {}", text, FormatSizeExact(unit)));
            }
            config.*member = size;
            return Status();
          },
          [member](const Config& config) { return FormatSizeExact(config.*member); }};
}

/// Integers and durations; T is constructed from, and `count` gives back, the number.
template <class T, class Count>
Option Number(const Words& words, T Config::*member, std::uint64_t least, std::uint64_t most, Count count) {
  return {words.key,
          words.group,
          words.value,
          words.help,
          ValueKind::kNumber,
          [=](Config& config, std::string_view text) {
            const auto value = ParseNumber(text);
            if (!value || *value < least || *value > most) {
              return Bad(fmt::format("'{}' is not a number from {} to {}", text, least, most));
            }
            config.*member = T(*value);
            return Status();
          },
          [=](const Config& config) { return fmt::format("{}", count(config.*member)); }};
}

/// Microseconds, or "off".
Option LatencyOrOff(const Words& words, std::optional<std::chrono::microseconds> Config::*member, std::uint64_t most) {
  return {words.key,
          words.group,
          words.value,
          words.help,
          ValueKind::kText,
          [=](Config& config, std::string_view text) {
            const auto value = ParseNumber(text);
            if (text != "off" && (!value || *value > most)) {
              return Bad(fmt::format("'{}' is neither off nor a number from 0 to {}", text, most));
            }
            config.*member = value ? std::optional(std::chrono::microseconds(*value)) : std::nullopt;
            return Status();
          },
          [=](const Config& config) {
            const auto& value = config.*member;
            return value ? fmt::format("{}", value->count()) : std::string("off");
          }};
}

template <class T>
Option Choice(const Words& words, T Config::*member, std::vector<std::pair<std::string_view, T>> choices) {
  return {words.key,
          words.group,
          words.value,
          words.help,
          ValueKind::kText,
          [member, choices](Config& config, std::string_view text) {
            for (const auto& [name, value] : choices) {
              if (name == text) {
                config.*member = value;
                return Status();
              }
            }
            std::string names;
            for (const auto& [name, value] : choices)
              names += (names.empty() ? "" : ", ") + std::string(name);
            return Bad(fmt::format("'{}' is none of {}", text, names));
          },
          [member, choices](const Config& config) {
            for (const auto& [name, value] : choices) {
              if (value == config.*member) return std::string(name);
            }
            return std::string();
          }};
}

Option SocketMode(const Words& words) {
  return {words.key,
          words.group,
          words.value,
          words.help,
          ValueKind::kText,
          [](Config& config, std::string_view text) {
            const auto mode = ParseNumber(text, 8);
            if (!mode || *mode > 0777)
              return Bad(fmt::format("'{}' is not a file mode: write it like 0660", text));
            config.socket_mode = static_cast<mode_t>(*mode);
            return Status();
          },
          [](const Config& config) { return fmt::format("{:04o}", config.socket_mode); }};
}

constexpr std::string_view kNode = "Node", kLocal = "Local clients", kPeers = "Peers",
                           kSponsor = "Memory for others", kEngine = "Engine", kSeen = "Observability";

std::vector<Option> MakeOptions() {
  const auto number = [](std::uint32_t n) { return n; };
  const auto count = [](auto duration) { return duration.count(); };
  const Bytes unit = kHugePage;
  return {
      Text({"name", kNode, "NAME", "What other nodes call this one. Empty: this host's name."}, &Config::name,
           EmptyOrName),
      Text({"failure-domain", kNode, "TEXT", "What fails together with this node: a rack, a power feed."},
           &Config::failure_domain, Anything),
      Text({"run-dir", kNode, "DIR",
            "Journals of the regions and QMP sockets. On tmpfs; must survive a restart of hecad, not of the "
            "host."},
           &Config::run_dir, CheckPath),
      Switch({"compute", kNode, "on|off",
              "Govern VMs of this host. Off: only lend memory, which needs no privilege."},
             &Config::compute),
      Switch({"resume", kNode, "on|off",
              "At start take back the regions that the last hecad left. Off: refuse to start while there are "
              "any."},
             &Config::resume),
      Text({"socket", kLocal, "PATH", "Unix socket for hecactl and the libvirt hook."}, &Config::socket,
           CheckSocketPath),
      SocketMode(
          {"socket-mode", kLocal, "MODE", "Permissions of the socket: who can write to it can govern VMs."}),
      Text({"socket-group", kLocal, "GROUP", "Group of the socket. Empty: the group of the process."},
           &Config::socket_group, Anything),
      Text({"control-listen", kPeers, "HOST:PORT",
            "Where peers ask for memory. Not encrypted yet: keep it on a network that you trust."},
           &Config::control_listen, CheckAddress),
      Text({"data-listen", kPeers, "HOST:PORT", "Where peers read and write lent pages. Same remark."},
           &Config::data_listen, CheckAddress),
      Choice<TransportChoice>({"transport", kPeers, "auto|tcp|rdma",
                         "How pages travel. auto: by RDMA where both ends have a device, else by TCP. rdma: by nothing else. The "
                         "port for RDMA is the one after data-listen's."},
                        &Config::transport,
                        {std::begin(kTransportChoices), std::end(kTransportChoices)}),
      Size({"donate", kSponsor, "SIZE", "Memory lent to other nodes. 0: none."}, &Config::donate, Bytes(0),
           Bytes(1ULL << 50), unit),
      Text({"slab-dir", kSponsor, "DIR", "Where lent memory lies: a tmpfs, so that a restart keeps it."},
           &Config::slab_dir, CheckPath),
      Size({"slab-size", kSponsor, "SIZE", "Unit of lending."}, &Config::slab_size, unit, Bytes(1ULL << 30),
           unit),
      Switch({"reserve", kSponsor, "on|off",
              "Allocate memory when it is lent. Off: when it is written, and a full host loses the bet."},
             &Config::reserve),
      Number({"lease-seconds", kSponsor, "N",
              "How long a borrower may be silent before its memory is quarantined (kept, but not usable)."},
             &Config::lease, 1, 86400, count),
      Number({"min-residence-ms", kEngine, "N", "No page is evicted younger than this."},
             &Config::min_residence, 0, 60000, count),
      Switch({"prefetch", kEngine, "on|off", "Fetch ahead of a VM that walks through its memory."},
             &Config::prefetch),
      Number({"prefetch-max", kEngine, "PAGES", "Largest window of prefetch."}, &Config::prefetch_max, 1,
             1024, number),
      Number({"io-grace-ms", kEngine, "N",
              "How long direct disk I/O may be in flight, where QEMU cannot tell. Longer than the slowest "
              "request."},
             &Config::io_grace, 0, 600000, count),
      Number({"loss-wait-seconds", kEngine, "N",
              "How long the only sponsor of a page may be away before the VM is stopped (it goes on when it "
              "is back)."},
             &Config::loss_wait, 1, 86400, count),
      Number({"watermark-low", kEngine, "PERCENT",
              "Eviction starts when less than this part of the limit is free."},
             &Config::watermark_low, 0, 50, number),
      Number({"watermark-high", kEngine, "PERCENT", "Eviction ends when this part of the limit is free."},
             &Config::watermark_high, 1, 75, number),
      LatencyOrOff({"cpu-latency-us", kEngine, "N|off",
                    "While VMs are governed, no CPU of this host may take longer than this to wake. 0: idle CPUs "
                    "poll, and remote pages come fastest. off: as the host is set."},
                   &Config::cpu_latency, 10000),
      TextOrOff({"metrics-listen", kSeen, "HOST:PORT|off", "Prometheus metrics over HTTP."},
                &Config::metrics_listen, CheckAddress),
      Choice<LogLevel>({"log-level", kSeen, "LEVEL", "trace, debug, info, warn or error; to standard error."},
                       &Config::log_level,
                       {{"trace", LogLevel::kTrace},
                        {"debug", LogLevel::kDebug},
                        {"info", LogLevel::kInfo},
                        {"warn", LogLevel::kWarn},
                        {"error", LogLevel::kError}}),
  };
}

}  // namespace

std::string_view Describe(ValueKind kind) {
  switch (kind) {
    case ValueKind::kText:
      return "a text in quotes";
    case ValueKind::kSize:
      return "a size like \"2GiB\", or a number of bytes";
    case ValueKind::kNumber:
      return "a whole number";
    case ValueKind::kSwitch:
      return "true or false";
    case ValueKind::kInvalid:
      break;
  }
  return "nothing";
}

const std::vector<Option>& Options() {
  static const std::vector<Option> options = MakeOptions();
  return options;
}

const Option* FindOption(std::string_view key) {
  const auto& options = Options();
  const auto found =
      std::find_if(options.begin(), options.end(), [key](const Option& o) { return o.key == key; });
  return found == options.end() ? nullptr : &*found;
}

Status CheckAddress(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon != std::string_view::npos && colon > 0) {
    const std::string_view host = text.substr(0, colon);
    const bool bracketed = host.front() == '[' && host.back() == ']' && host.size() > 2;
    const auto port = ParseNumber(text.substr(colon + 1));
    if (port && *port <= 65535 && (bracketed || host.find_first_of(":[] ") == std::string_view::npos))
      return Status();
  }
  return Bad(fmt::format("'{}' is not an address: write it like 10.1.0.3:7300 or [::1]:7300", text));
}

Status CheckName(std::string_view text) {
  constexpr std::string_view kAllowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  if (text.empty() || text.size() > 64 || text.find_first_not_of(kAllowed) != std::string_view::npos) {
    return Bad(fmt::format("'{}' is not a name: 1 to 64 letters, digits, '.', '_' or '-'", text));
  }
  return Status();
}

Result<Peer> ParsePeer(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos) {
    return Bad(
        fmt::format("'{}' is not a peer: write it like m1=10.1.0.3:7300 or m1=10.1.0.3:7300,rack2", text));
  }
  const std::size_t comma = text.find(',', equals);
  Peer peer{std::string(text.substr(0, equals)), std::string(text.substr(equals + 1, comma - equals - 1)),
            comma == std::string_view::npos ? "" : std::string(text.substr(comma + 1))};
  HECA_RETURN_IF_ERROR(CheckName(peer.name));
  HECA_RETURN_IF_ERROR(CheckAddress(peer.address));
  return peer;
}

}  // namespace heca::daemon
