-- one row is a text that is not empty and what the quality rules look at
-- Gopher: Rae et al. 2021, "quality filtering" (A.1.1) and table A1 (repetition); FineWeb: Penedo et al. 2024, 3.5.
-- A word is a token between blanks, punctuation included. A line is one with something on it, blanks around it
-- left out. Lengths are in characters. All sums are of whole numbers: sums of floats vary with threads.
with parts as (
    select
        *,
        regexp_extract_all(text, '\S+') as words,
        words_of(text) as bare_words,
        list_filter(
            list_transform(string_split(text, chr(10)), lambda line: trim(line, chr(9) || ' ')), lambda line: line <> ''
        ) as lines
    from texts
    where chars > 0
),
runs as (
    select *, list_transform(words[2:], lambda word, i: words[i] || ' ' || word) as bigrams
    from parts
),
repeated as (
    -- the most frequent 2-gram; of several the one that comes first
    select
        *,
        list_filter(lines, lambda line: regexp_matches(line, '[\p{L}\p{N}]')) as worded_lines,
        list_distinct(worded_lines) as different_lines,
        list_aggregate(bigrams, 'mode') as top_bigram
    from runs
),
counted as (
    select
        text_key,
        text,
        chars,
        len(words) as words,
        list_sum(list_transform(words, lambda word: length(word))) as word_chars,
        len(list_filter(words, lambda word: regexp_matches(word, '\p{L}'))) as alpha_words,
        len(list_filter($stop_words::varchar[], lambda word: list_contains(bare_words, word))) as stop_words,
        len(lines) as lines,
        len(worded_lines) as worded_lines,
        len(different_lines) as different_lines,
        coalesce(list_sum(list_transform(worded_lines, lambda line: length(line))), 0) as worded_line_chars,
        coalesce(list_sum(list_transform(different_lines, lambda line: length(line))), 0) as different_line_chars,
        len(list_filter(lines, lambda line: regexp_matches(line, '^([•‣◦▪●■]|[-*+–—·] )'))) as bullet_lines,
        len(list_filter(lines, lambda line: regexp_matches(line, '(\.\.\.|…)$'))) as ellipsis_lines,
        len(list_filter(lines, lambda line: regexp_matches(line, '[.!?…"''”“’»。！？؟।]$'))) as punctuated_lines,
        len(list_filter(lines, lambda line: length(line) <= 30)) as short_lines,
        coalesce(length(top_bigram), 0) as top_bigram_chars,
        len(list_filter(bigrams, lambda bigram: bigram = top_bigram)) as top_bigram_count
    from repeated
)
select
    text_key,
    words,
    word_chars / words as mean_word_length,
    -- Gopher: hash signs, or ellipses, by words; a row of dots that leads to a page number or is to be filled in is one
    greatest(
        chars - length(replace(text, '#', '')), len(regexp_extract_all(text, '\.{3,}|…+'))
    ) / words as symbol_word_ratio,
    -- Gopher: lines that begin with a bullet point, lines that end with an ellipsis
    bullet_lines / lines as bullet_line_ratio,
    ellipsis_lines / lines as ellipsis_line_ratio,
    -- Gopher: words with a letter; different stop words, found as whole words in any case
    alpha_words / words as alpha_word_ratio,
    stop_words,
    -- Gopher, table A1: lines that repeat an earlier one, by lines and by characters of the text; lines without a letter
    -- or digit, such as rules and the empty cells of a table, do not count as lines here
    (worded_lines - different_lines) / greatest(worded_lines, 1) as duplicate_line_ratio,
    (worded_line_chars - different_line_chars) / chars as duplicate_line_char_ratio,
    -- Gopher, table A1: characters in the occurrences of the top 2-gram; one that occurs once repeats nothing, and
    -- occurrences that overlap may come to more than the text has
    case when top_bigram_count > 1 then least(top_bigram_count * top_bigram_chars / chars, 1) else 0 end
        as top_2_gram_char_ratio,
    -- FineWeb: lines that end in a terminal punctuation mark, lines of at most 30 characters, line breaks by words
    punctuated_lines / lines as punctuated_line_ratio,
    short_lines / lines as short_line_ratio,
    (chars - length(replace(text, chr(10), ''))) / words as newline_word_ratio
from counted
