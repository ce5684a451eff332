-- one row is a document, no exact copy, that breaks a quality rule, with the first rule that it breaks, or that is
-- of another language than expected, with that language
-- A threshold is what is still permitted. Rules bear the names and the order of the YAML's keys.
with judged as (
    select
        number,
        case
            when words < $min_words then 'min_words'
            when words > $max_words then 'max_words'
            when mean_word_length < $min_mean_word_length then 'min_mean_word_length'
            when mean_word_length > $max_mean_word_length then 'max_mean_word_length'
            when symbol_word_ratio > $max_symbol_word_ratio then 'max_symbol_word_ratio'
            when bullet_line_ratio > $max_bullet_line_ratio then 'max_bullet_line_ratio'
            when ellipsis_line_ratio > $max_ellipsis_line_ratio then 'max_ellipsis_line_ratio'
            when alpha_word_ratio < $min_alpha_word_ratio then 'min_alpha_word_ratio'
            when stop_words < $min_stop_words then 'min_stop_words'
            when duplicate_line_ratio > $max_duplicate_line_ratio then 'max_duplicate_line_ratio'
            when duplicate_paragraph_ratio > $max_duplicate_paragraph_ratio then 'max_duplicate_paragraph_ratio'
            when duplicate_line_char_ratio > $max_duplicate_line_char_ratio then 'max_duplicate_line_char_ratio'
            when duplicate_paragraph_char_ratio > $max_duplicate_paragraph_char_ratio
                then 'max_duplicate_paragraph_char_ratio'
            when top_2_gram_char_ratio > $max_top_2_gram_char_ratio then 'max_top_2_gram_char_ratio'
            when top_3_gram_char_ratio > $max_top_3_gram_char_ratio then 'max_top_3_gram_char_ratio'
            when top_4_gram_char_ratio > $max_top_4_gram_char_ratio then 'max_top_4_gram_char_ratio'
            when duplicate_5_gram_char_ratio > $max_duplicate_5_gram_char_ratio then 'max_duplicate_5_gram_char_ratio'
            when duplicate_6_gram_char_ratio > $max_duplicate_6_gram_char_ratio then 'max_duplicate_6_gram_char_ratio'
            when duplicate_7_gram_char_ratio > $max_duplicate_7_gram_char_ratio then 'max_duplicate_7_gram_char_ratio'
            when duplicate_8_gram_char_ratio > $max_duplicate_8_gram_char_ratio then 'max_duplicate_8_gram_char_ratio'
            when duplicate_9_gram_char_ratio > $max_duplicate_9_gram_char_ratio then 'max_duplicate_9_gram_char_ratio'
            when duplicate_10_gram_char_ratio > $max_duplicate_10_gram_char_ratio
                then 'max_duplicate_10_gram_char_ratio'
            when punctuated_line_ratio < $min_punctuated_line_ratio then 'min_punctuated_line_ratio'
            when short_line_ratio > $max_short_line_ratio then 'max_short_line_ratio'
            when newline_word_ratio > $max_newline_word_ratio then 'max_newline_word_ratio'
            when sentences < $min_sentences then 'min_sentences'
            when c4_char_ratio < $min_c4_char_ratio then 'min_c4_char_ratio'
            when curly_brackets > $max_curly_brackets then 'max_curly_brackets'
            when lorem_ipsum_lines > $max_lorem_ipsum_lines then 'max_lorem_ipsum_lines'
            when javascript_line_ratio > $max_javascript_line_ratio then 'max_javascript_line_ratio'
            when policy_line_ratio > $max_policy_line_ratio then 'max_policy_line_ratio'
            when bad_word_ratio > $max_bad_word_ratio then 'max_bad_word_ratio'
        end as reason
    from catalogue
    join quality_signals using (text_key)
    where number not in (select number from exact_duplicates)
)
select number, 3 as place, 'quality' as step, reason
from judged
where reason is not null
union all
select number, 4, 'language', language
from catalogue
join languages using (text_key)
where
    $remove_other_languages
    and language not in (select unnest($expected_languages::varchar[]))
    and probability >= $min_language_probability
    and number not in (select number from exact_duplicates)
    and number not in (select number from judged where reason is not null)
