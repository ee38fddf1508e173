# Print a JSON document as lines of PATH<tab>VALUE, names in the path joined by dots and elements counted from 0.
# Line ends and tabs inside a value stay written as \n and \t, so that every value is one line.
{ text = text $0 "\n" }

function skip() { while (index(" \t\r\n", substr(text, at, 1)) && at <= length(text)) at++ }

function string(   out, c, e) {
    at++
    while ((c = substr(text, at, 1)) != "\"" && at <= length(text)) {
        if (c == "\\") {
            e = substr(text, ++at, 1)
            if (e == "\"" || e == "\\" || e == "/") c = e
            else if (e == "u") { c = "\\u" substr(text, at + 1, 4); at += 4 }
            else c = "\\" e
        }
        out = out c
        at++
    }
    at++
    return out
}

function value(path,   c, key, count, start) {
    skip()
    c = substr(text, at, 1)
    if (c == "{" || c == "[") {
        at++
        count = 0
        for (;;) {
            skip()
            if (at > length(text)) return
            if (index("}]", substr(text, at, 1))) { at++; return }
            if (substr(text, at, 1) == ",") { at++; continue }
            if (c == "{") {
                key = string()
                skip()
                at++
            } else key = count++
            value(path == "" ? key : path "." key)
        }
    }
    if (c == "\"") { print path "\t" string(); return }
    start = at
    while (at <= length(text) && !index(",}] \t\r\n", substr(text, at, 1))) at++
    if (at == start) at++
    print path "\t" substr(text, start, at - start)
}

END { at = 1; value("") }
