# SPDX-License-Identifier: Apache-2.0
# The work of atomics.sh. Written for any awk (Debian's is mawk).

function check_file(    i, j, code, text, kind, begin, end) {
    for (i = 1; i <= lines; i++) {
        code = bare[i]
        if (code ~ /(^|[^A-Za-z0-9_])(atomic_(load|store|exchange|compare|fetch|flag|thread|signal)|__atomic_|__sync_|memory_order_|volatile[^A-Za-z0-9_])/ &&
            code !~ /(__asm__|asm)[ \t]+volatile/ && code !~ /volatile sig_atomic_t/)
            print file ":" i ": atomics go through executor/atomic.h"
        if (code ~ /ck_pr_/ && file !~ /parker\.c$/)
            print file ":" i ": ck's atomics are for ck's own structures"
        if (line[i] ~ /pairs: [A-Z]/ && !has_operation(code))
            collect_labels(line[i], i, "told")
        if (!has_operation(code))
            continue
        # The whole statement, for a comment anywhere in it.
        begin = end = i
        while (begin > 1 && begin > i - 6 && bare[begin - 1] !~ /[;{}]|^[ \t]*$/)
            begin--
        while (end < lines && end < i + 6 && bare[end] !~ /[;{}]/)
            end++
        text = ""
        for (j = begin; j <= end; j++)
            text = text " " line[j]
        if (!has_comment(text)) {
            # A comment of its own covers the unbroken run of operations below it.
            for (j = i - 1; j >= 1 && has_operation(bare[j]) && !has_comment(line[j]); j--)
                ;
            for (end = j - 2; j >= 1 && j >= end; j--)
                if (!has_operation(bare[j]))
                    text = line[j] " " text
        }
        kind = strength(code)
        if (kind ~ /strong/) {
            if (text !~ /pairs: [A-Z]/)
                print file ":" i ": says not with whom it pairs"
            else
                collect_labels(text, i, kind)
        }
        if (kind ~ /relaxed/ && text !~ /relaxed(, [^:]*)?: [^ ]/)
            print file ":" i ": says not why relaxed is enough"
    }
}

function has_comment(text) {
    return text ~ /(pairs|relaxed(, [^:]*)?): /
}

function has_operation(code) {
    return code ~ /weft__(load|store|exchange|cas|fetch_(add|sub|or|and|xor))_(relaxed|acquire|release|acq_rel|seq_cst)[ \t]*\(|weft__guard_(tell|see)[ \t]*\(/
}

# What the operations on a line can do: "strong release acquire relaxed", any of these.
function strength(code,    s) {
    s = ""
    if (code ~ /weft__(load|store|fetch_[a-z]+)_relaxed/)
        s = s " relaxed"
    if (code ~ /weft__guard_tell|weft__store_(release|seq_cst)|weft__(exchange|cas|fetch_[a-z]+)_(release|acq_rel|seq_cst)/)
        s = s " strong release"
    if (code ~ /weft__guard_see|weft__load_(acquire|seq_cst)|weft__(exchange|cas|fetch_[a-z]+)_(acquire|acq_rel|seq_cst)/)
        s = s " strong acquire"
    return s
}

# Every label behind every "pairs:" of the text: words of capitals, digits and dashes, up to the first other word.
function collect_labels(text, at, kind,    rest, label, place, behind_comma) {
    rest = text
    while (match(rest, /pairs: /)) {
        rest = substr(rest, RSTART + RLENGTH)
        place = rest
        behind_comma = 0
        while (match(place, /^[A-Z][A-Z0-9-]*[A-Z0-9]/)) {
            label = substr(place, RSTART, RLENGTH)
            place = substr(place, RSTART + RLENGTH)
            # "A, B" are two labels; "A, CAS with load" is one and its story.
            if (behind_comma && place ~ /^ [a-z]/ && place !~ /^ and [A-Z]/)
                break
            behind_comma = 1
            if (place ~ /^ \(itself/)
                itself[label] = 1
            if (!(label in first))
                first[label] = file ":" at
            if (kind == "told")
                told[label] = told[label] " " file ":" at
            else {
                stands[label] = 1
                if (kind ~ /release/)
                    releases[label] = releases[label] " " file ":" at
                if (kind ~ /acquire/)
                    acquires[label] = acquires[label] " " file ":" at
            }
            sub(/^( \([^)]*\))?(,| and|;) */, "", place)
            sub(/^ +/, "", place)
        }
    }
}

# The line without comments and texts; comment tells whether we are inside /* */.
function strip(s,    out, p) {
    out = ""
    gsub(/"([^"\\]|\\.)*"/, "\"\"", s)
    while (s != "") {
        if (comment) {
            p = index(s, "*/")
            if (!p)
                return out
            s = substr(s, p + 2)
            comment = 0
            continue
        }
        p = match(s, /\/\*|\/\//)
        if (!p)
            return out s
        out = out substr(s, 1, p - 1)
        if (substr(s, p, 2) == "//")
            return out
        s = substr(s, p + 2)
        comment = 1
    }
    return out
}

FNR == 1 {
    if (file != "")
        check_file()
    file = FILENAME
    lines = 0
    comment = 0
}
{
    lines++
    line[lines] = $0
    bare[lines] = strip($0)
}
END {
    if (file != "")
        check_file()
    for (label in first) {
        if (label == "GUARD" || label == "LABEL")
            continue
        if (!(label in stands))
            print first[label] ": " label " is told, but stands at no operation"
        else if (releases[label] == "")
            print first[label] ": " label " has no side that releases"
        else if (acquires[label] == "")
            print first[label] ": " label " has no side that acquires"
        else if (releases[label] == acquires[label] && split(releases[label], sites, " ") == 1 && !(label in told) && !(label in itself))
            print first[label] ": " label " has one side only"
    }
}
