// SPDX-License-Identifier: LGPL-2.1-or-later
#include "domain/ready.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "samples.h"

namespace heca::domain {
namespace {

using namespace heca::testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

ReadyOptions OneToThree() {
  ReadyOptions options;
  options.wish.ratio = Ratio{1, 3};
  options.wish.replicas = 2;
  return options;
}

std::string Ready(const std::string& xml, const ReadyOptions& options = OneToThree()) {
  const auto ready = MakeReady(xml, options);
  EXPECT_TRUE(ready.ok()) << ready.status().message();
  return ready.ok() ? *ready : "";
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// The lines of `to` that are not in `from`, in order.
std::vector<std::string> Added(const std::string& from, const std::string& to) {
  std::vector<std::string> old = Lines(from);
  std::vector<std::string> added;
  for (const std::string& line : Lines(to)) {
    const auto known = std::find(old.begin(), old.end(), line);
    if (known == old.end()) {
      added.push_back(line);
    } else {
      old.erase(old.begin(), known + 1);
    }
  }
  return added;
}

std::vector<std::string> Names(const std::string& xml) {
  const auto plan = PlanReady(xml, {});
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  std::vector<std::string> names;
  if (plan.ok()) {
    for (const Refusal& refusal : plan->refusals) names.emplace_back(refusal.name);
  }
  return names;
}

TEST(Ready, AddsToAPlainDomainAndChangesNothingElse) {
  const std::string before = Sample("q35.xml");
  const std::string after = Ready(before);
  EXPECT_THAT(
      Added(before, after),
      ElementsAre("<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>",
                  // Double quotes became single ones, as in the rest.
                  "    <libosinfo:libosinfo xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'>",
                  "      <libosinfo:os id='http://debian.org/debian/12'/>",
                  "    <heca:memory xmlns:heca='https://hecatonchire.org/xmlns/1' ratio='1:3' replicas='2'/>",
                  "  <memoryBacking>", "    <source type='file'/>", "    <access mode='shared'/>",
                  "  </memoryBacking>",
                  "  <cpu mode='host-passthrough' check='none' migratable='on'>",
                  "    <feature policy='disable' name='vmx'/>", "    <feature policy='disable' name='svm'/>",
                  "  </cpu>",
                  "  <qemu:commandline>", "    <qemu:arg value='-chardev'/>",
                  "    <qemu:arg value='socket,id=heca,path=/run/heca/qmp/4dea22b3-1d52-4b3e-a6a6-0c1c4f4b6c2e.sock,"
                  "server=on,wait=off'/>",
                  "    <qemu:arg value='-mon'/>", "    <qemu:arg value='chardev=heca,mode=control'/>",
                  "  </qemu:commandline>"));
  EXPECT_EQ(Added(after, before).size(), 4U);  // <domain>, <cpu/> and the two with other quotes
}

TEST(Ready, KeepsTheKindOfQuotes) {
  const std::string before = Sample("nova.xml");
  const std::string after = Ready(before);
  EXPECT_THAT(Added(after, before), ElementsAre("<domain type=\"kvm\">"));
  EXPECT_THAT(after, Not(HasSubstr("'")));
  EXPECT_THAT(after, HasSubstr("\n    </nova:instance>\n    <heca:memory "
                               "xmlns:heca=\"https://hecatonchire.org/xmlns/1\" ratio=\"1:3\" replicas=\"2\"/>\n"
                               "  </metadata>\n"));
}

TEST(Ready, TwiceIsOnce) {
  for (const char* name : kSamples) {
    const std::string once = Ready(Sample(name));
    EXPECT_EQ(Ready(once), once) << name;
    EXPECT_EQ(Ready(once, {}), once) << name;  // without a wish, what is there stays
    const auto plan = PlanReady(once, {});
    ASSERT_TRUE(plan.ok());
    EXPECT_TRUE(plan->ready());
    const auto read = ReadMetadata(once);
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(read->wish, OneToThree().wish);
  }
}

TEST(Ready, WhatIsReadyComesBackByteForByte) {
  std::string xml = Ready(Sample("q35.xml"));
  xml.insert(0, "<?xml version=\"1.0\"?>\r\n<!-- as it was -->\r\n");
  xml.insert(xml.find("<devices>"), "<!-- &amp;&lt; -->\t<![CDATA[]]>");
  EXPECT_EQ(Ready(xml), xml);
}

TEST(Ready, RepairsTheMemoryBackingAndKeepsHugePages) {
  const std::string after = Ready(Sample("hugepages.xml"));
  EXPECT_THAT(after, HasSubstr("  <memoryBacking>\n"
                               "    <hugepages>\n"
                               "      <page size='2048' unit='KiB'/>\n"
                               "    </hugepages>\n"
                               "    <nosharepages/>\n"
                               "    <source type='file'/>\n"
                               "    <access mode='shared'/>\n"
                               "    <allocation threads='4'/>\n"
                               "  </memoryBacking>\n"));
  EXPECT_THAT(after, HasSubstr("    <qemu:arg value='name=opt/org.example/role,string=db'/>\n"
                               "    <qemu:env name='QEMU_AUDIO_DRV' value='none'/>\n"
                               "    <qemu:arg value='-chardev'/>\n"));
  const auto plan = PlanReady(Sample("hugepages.xml"), {});
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(plan->notes, ElementsAre("libvirt preallocates huge pages: a migration's destination touches all RAM"));
  const auto immediate = Ready(Small("  <memoryBacking>\n    <allocation mode='immediate'/>\n  </memoryBacking>\n"));
  EXPECT_THAT(immediate, Not(HasSubstr("allocation")));
}

TEST(Ready, CellsAndDimmsThatSayPrivate) {
  const std::string before = Sample("numa.xml");
  const std::string after = Ready(before);
  EXPECT_THAT(after, HasSubstr("<cell id='0' cpus='0-1' memory='2097152' unit='KiB' memAccess='shared'/>"));
  EXPECT_THAT(after, HasSubstr("<memory model='dimm' access='shared'>"));
  EXPECT_THAT(after, HasSubstr("    <feature policy='disable' name='vmx'/>\n"
                               "    <feature policy='disable' name='svm'/>\n"));
  EXPECT_THAT(after, StartsWith("<!-- two NUMA nodes"));
}

TEST(Ready, SaysWhatItChanges) {
  const auto plan = PlanReady(Sample("hugepages.xml"), OneToThree());
  ASSERT_TRUE(plan.ok());
  std::vector<std::string> said;
  for (const Change& change : plan->changes) said.push_back(change.name + ": " + change.what);
  EXPECT_THAT(
      said,
      ElementsAre("metadata: <heca:memory ratio='1:3' replicas='2'/> is added",
                  "memory backing: <source type='memfd'> becomes <source type='file'>",
                  "memory backing: <access mode='private'> becomes <access mode='shared'>",
                  "memory backing: <allocation mode='immediate'> is removed: a migration's destination would touch "
                  "all RAM",
                  "memory backing: <discard> is removed: it wipes the RAM when this QEMU ends after a migration",
                  "QMP socket: /run/heca/qmp/8b5b3b8e-6f0a-4c55-93f6-1d0d6a1f9a44.sock is added, for hecad alone",
                  "QMP socket: -mon chardev=heca,mode=control is added"));
}

TEST(Ready, ANewWishGoesOverTheOldOne) {
  ReadyOptions options;
  options.wish.local = Bytes(128 << 20);
  const std::string after =
      Ready(Small(Metadata(" ratio='1:3' replicas='2'") +
                  "  <memoryBacking><source type='anonymous'/></memoryBacking>\n"),
            options);
  EXPECT_THAT(after, HasSubstr("xmlns/1' replicas='2' local='128MiB'/>"));
  EXPECT_THAT(after, HasSubstr("<memoryBacking><source type='file'/><access mode='shared'/></memoryBacking>"));
  options.wish.ratio = Ratio{1, 1};
  EXPECT_EQ(MakeReady(after, options).status().code(), ErrorCode::kInvalidArgument);
  // The same in other words is no change.
  EXPECT_THAT(Ready(Small(Metadata(" local='0.125GiB'")), {}), HasSubstr("local='0.125GiB'"));
}

TEST(Ready, Notes) {
  ReadyOptions options;
  options.wish.local = Bytes(512 << 20);
  std::string live = Small();
  live.insert(live.find(">"), " id='3'");
  const auto plan = PlanReady(live, options);
  ASSERT_TRUE(plan.ok());
  ASSERT_EQ(plan->notes.size(), 2U);
  EXPECT_THAT(plan->notes[0], HasSubstr("--inactive"));
  EXPECT_EQ(plan->notes[1], "local 512MiB is all of the guest's 512MiB: nothing leaves this host");
}

std::string Commandline(const std::string& chardev, const std::string& mon = "chardev=heca,mode=control") {
  return fmt::format("  <q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>\n"
                     "    <q:arg value='-chardev'/>\n    <q:arg value='{}'/>\n"
                     "    <q:arg value='-mon'/>\n    <q:arg value='{}'/>\n  </q:commandline>\n", chardev, mon);
}

TEST(Monitor, WhatTheOperatorMadeStays) {
  for (const char* chardev : {"socket,id=heca,path=/srv/heca.qmp,server=on,wait=off",
                              "socket,path=/run/heca/qmp/vm1.sock,server,nowait,id=heca",
                              "{\"backend\":{\"type\":\"socket\"},\"id\":\"heca\"}"}) {
    EXPECT_THAT(Ready(Small(Commandline(chardev))), HasSubstr(Commandline(chardev))) << chardev;
  }
}

TEST(Monitor, TheSocketOfACopiedDomainBecomesItsOwn) {
  const std::string after =
      Ready(Small(Commandline("socket,id=heca,path=/run/heca/qmp/other.sock,server=on,wait=off")));
  EXPECT_THAT(after, Not(HasSubstr("other.sock")));
  EXPECT_THAT(after, HasSubstr(Commandline("socket,id=heca,path=/run/heca/qmp/"
                                           "11111111-2222-3333-4444-555555555555.sock,server=on,wait=off")));
}

TEST(Monitor, AHumanMonitorBecomesQmp) {
  const std::string after = Ready(Small(Commandline("socket,id=heca,path=/a", "chardev=heca")));
  EXPECT_THAT(after, HasSubstr("<q:arg value='chardev=heca,mode=control'/>"));
  EXPECT_THAT(Ready(Small(Commandline("socket,id=hecatomb,path=/a", "hecatomb"))),
              HasSubstr("<q:arg value='socket,id=heca,"));
}

TEST(Monitor, WithoutUuidByName) {
  const std::string after = Ready("<domain type='qemu'><name>a,b</name><memory>1024</memory></domain>");
  EXPECT_THAT(after, HasSubstr("'socket,id=heca,path=/run/heca/qmp/a,,b.sock,server=on,wait=off'"));
  EXPECT_EQ(Ready(after), after);
  const auto longer = MakeReady("<domain type='qemu'><name>" + std::string(120, 'n') +
                                "</name><memory>1024</memory></domain>", {});
  ASSERT_EQ(longer.status().code(), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(std::string(longer.status().message()), HasSubstr("longer than the 107 bytes"));
  EXPECT_THAT(std::string(longer.status().message()), HasSubstr("remedy: give the domain a <uuid>"));
}

TEST(Monitor, ATakenNameIsRefused) {
  const auto taken = MakeReady(Small(Commandline("pty,id=heca")), {});
  ASSERT_EQ(taken.status().code(), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(std::string(taken.status().message()), HasSubstr("chardev 'pty,id=heca'"));
}

struct Refused {
  const char* name;
  const char* inside;
  const char* devices;
  const char* detail;
};

TEST(Refusals, EachByName) {
  const Refused cases[] = {
      {"virtiofs", "", "<filesystem type='mount'><driver type='virtiofs'/></filesystem>",
       "<filesystem> with <driver type='virtiofs'>"},
      {"vhost-user", "", "<interface type='vhostuser'/>", "<interface type='vhostuser'>"},
      {"vhost-user", "", "<disk type='vhostuser'/>", "<disk type='vhostuser'>"},
      {"vhost-user", "", "<video><driver name='vhostuser'/></video>", "<video> with <driver name='vhostuser'>"},
      {"vhost-scsi", "", "<hostdev mode='subsystem' type='scsi_host'/>", "<hostdev type='scsi_host'>"},
      {"vhost-vdpa", "", "<interface type='vdpa'/>", "<interface type='vdpa'>"},
      {"vhost-vdpa", "", "<disk type='vhostvdpa'/>", "<disk type='vhostvdpa'>"},
      {"vfio", "", "<hostdev mode='subsystem' type='pci'/>", "<hostdev type='pci'>"},
      {"vfio", "", "<hostdev mode='subsystem' type='mdev'/>", "<hostdev type='mdev'>"},
      {"vfio", "", "<interface type='hostdev'/>", "<interface type='hostdev'>"},
      {"virtio-mem", "", "<memory model='virtio-mem'/>", "<memory model='virtio-mem'>"},
      {"nested guests", "<cpu mode='host-model'><feature policy='require' name='vmx'/></cpu>", "",
       "<feature name='vmx'> of its CPU has the policy 'require'"},
      {"nested guests", "<cpu><model>EPYC</model><feature name='svm'/></cpu>", "", "<feature name='svm'> of its CPU"},
      {"userspace NVMe", "", "<disk type='nvme'/>", "<disk type='nvme'>"},
      {"userspace NVMe", "", "<disk type='file'><backingStore type='nvme'/></disk>", "<backingStore type='nvme'>"},
      {"udmabuf", "", "<video><model type='virtio' blob='on'/></video>", "<video> with <model blob='on'>"},
      {"encrypted memory", "<launchSecurity type='sev'/>", "", "<launchSecurity type='sev'>"},
      {"encrypted memory", "", "<memory model='sgx-epc'/>", "<memory model='sgx-epc'>"},
      {"locked memory", "<memoryBacking><locked/></memoryBacking>", "", "<locked/> in <memoryBacking>"},
      {"NVDIMM", "", "<memory model='nvdimm'/>", "<memory model='nvdimm'>"},
      {"shared with another process", "", "<shmem name='my'/>", "<shmem name='my'>"},
  };
  for (const Refused& one : cases) {
    const std::string xml = Small(one.inside, one.devices);
    EXPECT_THAT(Names(xml), ElementsAre(one.name)) << one.detail;
    const auto made = MakeReady(xml, {});
    ASSERT_EQ(made.status().code(), ErrorCode::kFailedPrecondition) << one.detail;
    EXPECT_THAT(std::string(made.status().message()),
                HasSubstr(fmt::format("domain 'vm1': {}: {}", one.name, one.detail)));
    EXPECT_THAT(std::string(made.status().message()), HasSubstr("; remedy: "));
  }
}

TEST(Refusals, WhatWentPastLibvirt) {
  const std::pair<const char*, const char*> cases[] = {
      {"vfio-pci,host=01:00.0", "vfio"},        {"vhost-user-blk-pci,chardev=c", "vhost-user"},
      {"vhost-user,chardev=c,id=n", "vhost-user"}, {"vhost-user-fs-pci,tag=t", "virtiofs"},
      {"mem-lock=on", "locked memory"},         {"memory-backend-memfd,id=m,size=1G", "memfd"},
      {"ivshmem-plain,memdev=m", "shared with another process"}};
  for (const auto& [argument, name] : cases) {
    EXPECT_THAT(Names(Small(fmt::format("<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>"
                                        "<q:arg value='-x'/><q:arg value='{}'/></q:commandline>", argument))),
                ElementsAre(name));
  }
}

TEST(Refusals, AllAtOnce) {
  const auto made = MakeReady(Small("", "<interface type='vdpa'/><hostdev type='pci'/>"), {});
  EXPECT_EQ(made.status().message(),
            "domain 'vm1': vhost-vdpa: <interface type='vdpa'>; remedy: use a tap or kernel vhost-net interface. "
            "vfio: <hostdev type='pci'>; remedy: remove the passed-through device; use a virtio device");
  EXPECT_THAT(Names("<domain type='xen'><name>a</name><memory>1</memory></domain>"), ElementsAre("not QEMU"));
}

TEST(Refusals, WhatIsFineIsNotRefused) {
  EXPECT_THAT(Names(Small("<cpu mode='host-model'><feature policy='forbid' name='vmx'/></cpu>",
                          "<hostdev mode='subsystem' type='usb'/><interface type='network'/><vsock model='virtio'/>"
                          "<filesystem type='mount'><driver type='path'/></filesystem><memory model='dimm'/>"
                          "<video><model type='virtio' blob='off'/></video>")),
              IsEmpty());
  // Without KVM there are no nested guests that map RAM past QEMU, and other architectures have no vmx.
  for (const char* domain : {"<domain type='qemu'><name>a</name><memory>1</memory><cpu mode='maximum'/></domain>",
                             "<domain type='kvm'><name>a</name><memory>1</memory><os><type arch='aarch64'/></os>"
                             "<cpu mode='host-passthrough'/></domain>"}) {
    EXPECT_THAT(Ready(domain), Not(HasSubstr("feature")));
  }
}

TEST(Incoming, OthersComeBackAsTheyAre) {
  for (const char* name : kSamples) EXPECT_EQ(RepairIncoming(Sample(name)).value(), Sample(name));
  EXPECT_EQ(RepairIncoming("no XML at all").value(), "no XML at all");
  const std::string mentioned = Small("<!-- https://hecatonchire.org/xmlns/1 -->");
  EXPECT_EQ(RepairIncoming(mentioned).value(), mentioned);
}

TEST(Incoming, WhatIsReadyComesBackByteForByte) {
  for (const char* name : kSamples) {
    const std::string ready = Ready(Sample(name));
    EXPECT_EQ(RepairIncoming(ready).value(), ready) << name;
  }
}

TEST(Incoming, GetsBackTheMemoryBackingThatNovaStrips) {
  const std::string ready = Ready(Sample("nova.xml"));
  std::string stripped = ready;
  const std::size_t begin = stripped.find("  <memoryBacking>");
  const std::size_t end = stripped.find("</memoryBacking>\n") + std::string("</memoryBacking>\n").size();
  stripped.erase(begin, end - begin);
  EXPECT_EQ(RepairIncoming(stripped).value(), ready);
}

TEST(Incoming, LeavesTheGuestAlone) {
  // A bad wish, a CPU that could do nested guests, a device that would be refused: none is a migration's business.
  const std::string xml = Small(Metadata(" ratio='never'") + "  <cpu mode='host-passthrough'/>\n",
                                "    <interface type='vdpa'/>\n");
  const auto repaired = RepairIncoming(xml, "/q");
  ASSERT_TRUE(repaired.ok()) << repaired.status().message();
  EXPECT_THAT(*repaired, HasSubstr("ratio='never'"));
  EXPECT_THAT(*repaired, HasSubstr("  <cpu mode='host-passthrough'/>\n"));
  EXPECT_THAT(*repaired, HasSubstr("<source type='file'/>"));
  EXPECT_THAT(*repaired, HasSubstr("path=/q/11111111-2222-3333-4444-555555555555.sock"));
  EXPECT_EQ(RepairIncoming(*repaired, "/q").value(), *repaired);
}

}  // namespace
}  // namespace heca::domain
