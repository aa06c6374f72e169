#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Sourced by DevStack with a mode and a phase. Builds and installs hecad and libvirt's hook on a compute host before
# nova-compute starts there, and sets Nova to use them; settings has what can be set.

HECA_TREE=$(cd -P "${GITDIR[heca]}/.." && pwd)
HECA_TOML=/etc/heca/hecad.toml
HECA_QEMU_CONF=/etc/libvirt/qemu.conf

# The daemon, hecactl, the hook, and in Nova's Python the binding, the driver and the client's commands.
function install_heca {
    sudo "$HECA_TREE/tools/install-packages"
    if is_service_enabled n-cpu; then
        (cd "$HECA_TREE" && tools/build release hecad hecactl heca-hook heca-hook-tell)
        (cd "$HECA_TREE" && sudo tools/install --build build/release --prefix "$HECA_PREFIX")
        pip_install "$HECA_TREE"
    fi
    # nova-api and nova-scheduler need it too: validators of extra specs, and the weigher.
    pip_install "$HECA_TREE/nova-plugin"
    pip_install "$HECA_TREE/nova-plugin/osc"
}

# RAM files have to lie on a tmpfs, of its own so that it has a size of its own.
function mount_heca_ram {
    sudo mkdir -p "$HECA_RAM_DIR"
    if ! mountpoint -q "$HECA_RAM_DIR"; then
        sudo mount -t tmpfs -o "size=$HECA_RAM_SIZE,huge=never,mode=0755" heca-ram "$HECA_RAM_DIR"
    fi
}

function configure_heca_libvirt {
    sudo sed -i '/^memory_backing_dir *=/d' "$HECA_QEMU_CONF"
    echo "memory_backing_dir = \"$HECA_RAM_DIR\"" | sudo tee -a "$HECA_QEMU_CONF" > /dev/null
    # libvirt looks for hooks, and reads this file, when it starts.
    restart_service libvirtd
}

function write_heca_toml {
    local peer
    cat <<TOML
name = "$HECA_NODE"
# nova-compute runs as this user, and has to reach hecad's socket.
socket-group = "$(id -gn "$STACK_USER")"
control-listen = "$HECA_LISTEN_ADDRESS:$HECA_CONTROL_PORT"
data-listen = "$HECA_LISTEN_ADDRESS:$HECA_DATA_PORT"
donate = "$HECA_DONATE"
TOML
    for peer in $HECA_PEERS; do
        printf '\n[[peer]]\nname = "%s"\naddress = "%s"\n' "${peer%%=*}" "${peer#*=}"
    done
}

function start_heca {
    write_heca_toml | sudo tee "$HECA_TOML" > /dev/null
    "$HECA_PREFIX/sbin/hecad" --check-config || die $LINENO "hecad refuses $HECA_TOML, which the plugin has written"
    sudo systemctl enable hecad
    sudo systemctl restart hecad
}

# Servers that still run would wait for ever for what is away: they end first.
function end_heca_servers {
    local domain
    for domain in $(sudo virsh list --name | grep "^$INSTANCE_NAME_PREFIX"); do
        sudo virsh destroy "$domain" || true
    done
}

if [[ "$1" == "stack" && "$2" == "install" ]]; then
    echo_summary "Installing heca"
    install_heca
elif [[ "$1" == "stack" && "$2" == "post-config" ]]; then
    echo_summary "Configuring heca"
    if is_service_enabled n-cpu; then
        mount_heca_ram
        configure_heca_libvirt
        start_heca
        iniset "$NOVA_CONF" DEFAULT compute_driver heca.HecaLibvirtDriver
    fi
elif [[ "$1" == "clean" ]] && is_service_enabled n-cpu; then
    end_heca_servers
    sudo systemctl disable --now hecad || true
    (cd "$HECA_TREE" && sudo tools/install --remove) || true
    sudo sed -i '/^memory_backing_dir *=/d' "$HECA_QEMU_CONF"
    if mountpoint -q "$HECA_RAM_DIR"; then
        sudo umount "$HECA_RAM_DIR"
    fi
fi
