-- one row is a text that is not empty and what the quality rules look at
-- Gopher: Rae et al. 2021, A.1.1 and table A1; FineWeb: Penedo et al. 2024, 3.5; C4: Raffel et al. 2020, 2.2.
-- All sums before are of whole numbers: sums of floats vary with threads.
with sums as (
    select
        *,
        chars - length(replace(text, chr(10), '')) as newlines,
        greatest(chars - newlines, 1) as line_chars
    from texts
    join line_signals using (text_key)
    join word_signals using (text_key)
    left join run_signals using (text_key)  -- of none: no rule
)
select
    text_key,
    -- Gopher: words have a letter or a digit, tokens are words and punctuation marks
    words,
    word_chars / greatest(words, 1) as mean_word_length,
    -- hash signs, or ellipses, by tokens; a row of dots that leads to a page number or is to be filled in is one
    greatest(chars - length(replace(text, '#', '')), ellipses) / greatest(tokens, 1) as symbol_word_ratio,
    bullet_lines / lines as bullet_line_ratio,
    ellipsis_lines / lines as ellipsis_line_ratio,
    alpha_words / greatest(tokens, 1) as alpha_word_ratio,
    stop_words,
    -- Gopher, table A1: what repeats something earlier, by lines and paragraphs and by their characters
    duplicate_lines / lines as duplicate_line_ratio,
    duplicate_paragraphs / paragraphs as duplicate_paragraph_ratio,
    duplicate_line_chars / line_chars as duplicate_line_char_ratio,
    duplicate_paragraph_chars / chars as duplicate_paragraph_char_ratio,
    -- occurrences that overlap may come to more than the text has
    least(top_2_gram_chars / chars, 1) as top_2_gram_char_ratio,
    least(top_3_gram_chars / chars, 1) as top_3_gram_char_ratio,
    least(top_4_gram_chars / chars, 1) as top_4_gram_char_ratio,
    least(duplicate_5_gram_chars / chars, 1) as duplicate_5_gram_char_ratio,
    least(duplicate_6_gram_chars / chars, 1) as duplicate_6_gram_char_ratio,
    least(duplicate_7_gram_chars / chars, 1) as duplicate_7_gram_char_ratio,
    least(duplicate_8_gram_chars / chars, 1) as duplicate_8_gram_char_ratio,
    least(duplicate_9_gram_chars / chars, 1) as duplicate_9_gram_char_ratio,
    least(duplicate_10_gram_chars / chars, 1) as duplicate_10_gram_char_ratio,
    -- FineWeb
    punctuated_lines / lines as punctuated_line_ratio,
    short_lines / lines as short_line_ratio,
    newlines / greatest(tokens, 1) as newline_word_ratio,
    -- C4: sentences and characters in the lines that it keeps
    sentences,
    least(c4_chars / line_chars, 1) as c4_char_ratio,
    chars - length(replace(text, '{', '')) as curly_brackets,
    lorem_ipsum_lines,
    javascript_lines / lines as javascript_line_ratio,
    policy_lines / lines as policy_line_ratio,
    bad_words / greatest(words, 1) as bad_word_ratio
from sums
