/* SPDX-License-Identifier: Apache-2.0 */
/* kv/info.c -- INFO, and the few settings that redis-benchmark asks for with CONFIG GET. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kv/commands.h"

void command_info(struct call *c)
{
    commands_count(c->run);
    struct store_account account = store_count();
    char text[1024];
    int n = snprintf(
        text, sizeof text,
        "# Server\r\nserver_name:weft-kv\r\nweft_version:%s\r\nredis_mode:standalone\r\nprocess_id:%ld\r\n"
        "workers:%u\r\n\r\n# Clients\r\nconnected_clients:%zu\r\n\r\n# Stats\r\ntotal_commands_processed:%llu\r\n"
        "\r\n# Keyspace\r\n",
        weft_version(), (long)getpid(), weft_runtime_workers(weft_runtime_current()), server_connected(),
        commands_counted());
    if (account.keys > 0) {
        n += snprintf(text + n, sizeof text - (size_t)n, "db0:keys=%zu,expires=%zu,avg_ttl=0\r\n", account.keys,
                      account.expiring);
    }
    reply_bulk(c->out, text, (size_t)n);
}

void command_config(struct call *c)
{
    static const struct {
        const char *name, *upper, *value;
    } settings[] = {
        {"save", "SAVE", ""},
        {"appendonly", "APPENDONLY", "no"},
        {"databases", "DATABASES", "1"},
    };
    if (!arg_is(c->argv[1], "GET") || c->argc != 3) {
        reply_error(c->out, "ERR only CONFIG GET with one name is known here");
        return;
    }
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (arg_is(c->argv[2], settings[i].upper)) {
            reply_number(c->out, '*', 2);
            reply_bulk(c->out, settings[i].name, strlen(settings[i].name));
            reply_bulk(c->out, settings[i].value, strlen(settings[i].value));
            return;
        }
    }
    reply_text(c->out, "*0\r\n");
}
